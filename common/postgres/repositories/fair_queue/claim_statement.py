"""The statement of a fair claim, from the queue to the jobs of the tenants due next."""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Executable,
    ScalarSelect,
    Subquery,
    Text,
    and_,
    bindparam,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from common.domain.job import WORKER_LOST, JobState
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.columns import JOB_COLUMNS, from_now, is_found_in, spelled
from common.postgres.repositories.fair_queue.claim_service import served, summed_up
from common.postgres.repositories.fair_queue.shares import ROOM, SERVABLE, is_ready

_ONE: Final = spelled(1)
_NO_BOUND: Final[ColumnElement[float]] = literal_column("'infinity'", Double())

# The statement, put together once for each size: that takes longer than running it. The size is
# part of its text: with a bound LIMIT Postgres settles on a generic plan, a hundred times slower.


@cache
def fair_claim(limit: int) -> Executable:
    """Give the statement that takes up to `limit` jobs; see `claims.claim_jobs`.

    It gives a row for each job taken, in the order they are due, and one for each tenant without
    any: `tenant_id`, `queue`, whether the tenant has more, `JOB_COLUMNS`, `max_attempts`. One row
    without a tenant says that others are just serving all whose turn it is.
    """
    size = spelled(limit)
    queue = _first_queue()
    tenants = _tenants(queue, size)
    ready = _ready(queue, tenants, size)
    claimed = _taken(_due(ready, size))
    share = served(queue, summed_up(tenants, ready, claimed), size)
    counted = (
        update(TenantShare)
        .where(TenantShare.tenant_id == share.c.tenant_id)
        .values(running=TenantShare.running + share.c.taken)
        .cte("counted")
    )
    return (
        select(
            share.c.tenant_id,
            queue.c.queue,
            share.c.has_ready,
            *(claimed.c[column.key] for column in JOB_COLUMNS),
            claimed.c.max_attempts,
        )
        .select_from(
            queue.outerjoin(share, true()).outerjoin(
                claimed, claimed.c.tenant_id == share.c.tenant_id
            )
        )
        .order_by(claimed.c.tag, claimed.c.id)
        .add_cte(counted)
    )


def _first_queue() -> CTE:
    """Choose the first of the queues asked for in which some tenant can be served."""
    asked = (
        func.unnest(bindparam("of_queues", type_=ARRAY(Text)))
        .table_valued("queue", with_ordinality="turn")
        .render_derived()
    )
    # In an index's order, else the planner may read through the table in the hope of meeting one.
    somebody = (
        select(TenantQueue.tenant_id)
        .where(TenantQueue.queue == asked.c.queue, *SERVABLE)
        .order_by(TenantQueue.virtual_time)
        .limit(_ONE)
        .lateral("somebody")
    )
    return (
        select(asked.c.queue)
        .select_from(asked.join(somebody, true()))
        .order_by(asked.c.turn)
        .limit(_ONE)
        .cte("first")
    )


def _tenants(queue: CTE, size: ColumnElement[int]) -> CTE:
    """Lock the tenants to be served next, the least served first.

    Not those that others have served since this statement began, and who would be next no more:
    Postgres locks a row as it is by then, and asks anew only whether it still fits.
    """
    seen = aliased(TenantQueue)
    unserved = (
        seen.tenant_id == TenantQueue.tenant_id,
        seen.queue == TenantQueue.queue,
        seen.virtual_time == TenantQueue.virtual_time,
    )
    return (
        select(
            TenantQueue.tenant_id,
            TenantQueue.queue,
            TenantQueue.virtual_time,
            TenantShare.weight,
            ROOM.label("room"),
        )
        .where(TenantQueue.queue == select(queue.c.queue).scalar_subquery(), *SERVABLE)
        .join(seen, and_(*unserved))
        .order_by(TenantQueue.virtual_time, TenantQueue.start_tag)
        .limit(size)
        .with_for_update(skip_locked=True, of=[TenantQueue, TenantShare])
        .cte("tenants")
    )


def _passed_over(queue: CTE, tenants: CTE) -> ScalarSelect[float]:
    """Give the least service received by a tenant that could be served, but not by this claim."""
    return (
        select(TenantQueue.virtual_time)
        .where(
            TenantQueue.queue == select(queue.c.queue).scalar_subquery(),
            TenantQueue.tenant_id.not_in(select(tenants.c.tenant_id)),
            *SERVABLE,
        )
        .order_by(TenantQueue.virtual_time)
        .limit(_ONE)
        .scalar_subquery()
    )


def _ready(queue: CTE, tenants: CTE, size: ColumnElement[int]) -> CTE:
    """Find their next jobs; `tag` is the service its tenant has received when a job is taken.

    Passing over the tenants that others are serving must not put those further behind: nobody is
    served who is ahead of the least served of them by more than the job to be taken.
    """
    best = (
        select(Job.id, Job.cost, Job.priority)
        .where(*is_ready(tenants.c.tenant_id, tenants.c.queue))
        .order_by(Job.priority.desc(), Job.id)
        .limit(size)
        .lateral("best")
    )
    in_turn: dict[str, Any] = {
        "partition_by": tenants.c.tenant_id,
        "order_by": (best.c.priority.desc(), best.c.id),
    }
    # Nothing is before the first, exactly: its tag, and so the queue's own virtual time, must not
    # differ from its tenant's by a rounding. Else a newcomer stands behind a whole round of equals.
    before = func.sum(best.c.cost).over(**in_turn) - best.c.cost
    tag = tenants.c.virtual_time + before / tenants.c.weight
    has_room = func.row_number().over(**in_turn) <= tenants.c.room
    bound = func.coalesce(_passed_over(queue, tenants), _NO_BOUND)
    is_in_turn = tag <= bound + best.c.cost / tenants.c.weight
    return (
        select(
            best.c.id,
            tenants.c.tenant_id,
            and_(has_room, is_in_turn).label("may_be_taken"),
            tag.label("tag"),
        )
        .select_from(tenants.join(best, true()))
        .cte("ready")
    )


def _due(ready: CTE, size: ColumnElement[int]) -> Subquery:
    """Choose and lock those due next; a suspect comes alone, and none comes behind one."""
    next_due = (
        select(ready.c.id, ready.c.tag)
        .where(ready.c.may_be_taken)
        .order_by(ready.c.tag, ready.c.id)
        .limit(size)
        .subquery("next_due")
    )
    # No other claimer can be at these, for their tenants are locked. Whoever else is holds the job
    # and may wait for its tenant, as one who just gives it back: so it is not waited for.
    locked = (
        select(Job.id, Job.error_code, next_due.c.tag)
        .join(next_due, next_due.c.id == Job.id)
        .where(is_found_in(Job.state, JobState.QUEUED))
        .with_for_update(skip_locked=True, key_share=True, of=Job)
        .cte("locked")
    )
    in_turn: dict[str, Any] = {"order_by": (locked.c.tag, locked.c.id)}
    is_suspect = func.coalesce(locked.c.error_code == WORKER_LOST, false())
    judged = select(
        locked.c.id,
        locked.c.tag,
        func.row_number().over(**in_turn).label("turn"),
        func.bool_or(is_suspect).over(**in_turn).label("behind_a_suspect"),
    ).subquery("judged")
    return (
        select(judged.c.id, judged.c.tag)
        .where(or_(~judged.c.behind_a_suspect, judged.c.turn == _ONE))
        .subquery("due")
    )


def _taken(due: Subquery) -> CTE:
    return (
        update(Job)
        .where(Job.id == due.c.id)
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            claimed_by=bindparam("by_worker"),
            lease_expires_at=from_now(bindparam("lease_seconds", type_=Double())),
            started_at=func.now(),
        )
        .returning(*JOB_COLUMNS, Job.max_attempts, Job.cost, due.c.tag)
        .cte("claimed")
    )
