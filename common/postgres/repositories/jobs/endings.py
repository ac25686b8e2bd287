"""What a statement that ends jobs is made of: the state, the cost, the webhook that tells of it.

One statement is one transaction: there is no moment at which a result exists without its
delivery, and none at which work is charged twice.
"""

from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Select,
    SmallInteger,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)

from common.domain.delivery import Event
from common.domain.job import JobState
from common.postgres.models import Delivery, Job, UnfoldedUsage, UsageEntry


def end(target: JobState, *conditions: ColumnElement[bool], **values: Any) -> CTE:
    """Give the part that ends the jobs of these conditions."""
    return (
        update(Job)
        .where(*conditions)
        .values(
            state=target,
            claimed_by=None,
            lease_expires_at=None,
            finished_at=func.now(),
            **values,
        )
        .returning(
            Job.id,
            Job.tenant_id,
            Job.queue,
            Job.file_prefix,
            Job.request,
            Job.cost,
            Job.webhook_url,
        )
        .cte("ended")
    )


def tell(ended: CTE, event: Event, *others: CTE) -> Select[Any]:
    """Give the whole statement: its rows are `Ended`, and `others` are done along with it."""
    outbox = (
        insert(Delivery)
        .from_select(
            ["job_id", "tenant_id", "event", "url"],
            select(ended.c.id, ended.c.tenant_id, literal(event.value), ended.c.webhook_url).where(
                ended.c.webhook_url.is_not(None)
            ),
        )
        .returning(Delivery.id, Delivery.job_id)
        .cte("outbox")
    )
    return (
        select(ended.c.id, ended.c.file_prefix, outbox.c.id)
        .select_from(ended.outerjoin(outbox, outbox.c.job_id == ended.c.id))
        .add_cte(*others)
    )


def charge(ended: CTE) -> tuple[CTE, CTE]:
    """Give the parts that enter what the ended jobs cost into the ledger."""
    charged = (
        insert(UsageEntry)
        .from_select(
            [
                *("job_id", "tenant_id", "model", "images", "megapixel_steps"),
                *("gpu_milliseconds", "flagged_images"),
            ],
            select(
                ended.c.id,
                ended.c.tenant_id,
                ended.c.request["model"].astext,
                bindparam("charged_images", type_=SmallInteger()),
                cast(ended.c.cost, UsageEntry.megapixel_steps.type),
                bindparam("charged_milliseconds", type_=BigInteger()),
                bindparam("charged_flagged", type_=SmallInteger()),
            ),
        )
        .returning(UsageEntry.job_id, UsageEntry.tenant_id)
        .cte("charged")
    )
    unfolded = (
        insert(UnfoldedUsage)
        .from_select(["job_id", "tenant_id"], select(charged.c.job_id, charged.c.tenant_id))
        .cte("unfolded")
    )
    return charged, unfolded
