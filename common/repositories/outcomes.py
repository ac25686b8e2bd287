"""Ending jobs: the state, what it cost and the webhook that tells of it, in one statement.

One statement is one transaction: there is no moment at which a result exists without its
delivery, and none at which work is charged twice.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Double,
    Executable,
    Select,
    SmallInteger,
    String,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute

from common.direct import Executor
from common.domain.delivery import Event
from common.domain.job import WORKER_LOST, Claim, JobState, sources
from common.domain.record import JobResult
from common.domain.wording import counted
from common.models import Delivery, Job, UnfoldedUsage, UsageEntry
from common.repositories.columns import from_now, is_one_of
from common.repositories.shares import freed

SECONDS_TO_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has just ended; `delivery_id` is None where nobody asked to be told."""

    job_id: int
    file_prefix: UUID
    delivery_id: UUID | None


async def succeed(connection: Executor, claim: Claim, result: JobResult) -> Ended | None:
    """Store the result, the usage and the delivery; None if the claim was lost."""
    values = _of(claim) | {
        "to_result": result.to_json(),
        "charged_images": len(result.object_keys),
        "charged_milliseconds": round(result.generation_seconds * SECONDS_TO_MILLISECONDS),
    }
    return await _one(connection, _SUCCEED, values)


async def fail(connection: Executor, claim: Claim, *, code: str, message: str) -> Ended | None:
    """Store the reason and the delivery; None if the claim was lost."""
    return await _one(
        connection, _FAIL, _of(claim) | {"to_error_code": code, "to_error_message": message}
    )


async def cancel(
    connection: Executor, *, tenant_id: int, job_id: int, message: str = "canceled by its owner"
) -> Ended | None:
    """End a job that is not wanted; None if it is not this tenant's or has ended already."""
    values = {"of_job": job_id, "of_tenant": tenant_id, "to_error_message": message}
    return await _one(connection, _CANCEL, values)


async def fail_abandoned(connection: Executor, *, limit: int) -> list[Ended]:
    """Fail jobs whose last allowed attempt lost its lease: their workers died each time.

    The counters of running jobs are left to a recount.
    """
    rows = await connection.execute(_FAIL_ABANDONED, {"at_most": limit})
    return [Ended(*row) for row in rows.all()]


async def fail_overdue(
    connection: Executor, *, max_queue_seconds: float, limit: int
) -> list[Ended]:
    """Fail jobs that still wait, or wait again, so long after they were accepted."""
    limit_told = counted(f"{max_queue_seconds:g}", "second")
    message = f"the job waited longer than the limit of {limit_told}"
    values = {"waited_seconds": -max_queue_seconds, "at_most": limit, "to_error_message": message}
    rows = await connection.execute(_FAIL_OVERDUE, values)
    return [Ended(*row) for row in rows.all()]


async def _one(connection: Executor, statement: Executable, values: dict[str, Any]) -> Ended | None:
    row = (await connection.execute(statement, values)).first()
    return None if row is None else Ended(*row)


def _of(claim: Claim) -> dict[str, Any]:
    return {"of_job": claim.job_id, "of_attempt": claim.attempt}


# The statements, put together once: that takes longer than running them.


def _end(target: JobState, *conditions: ColumnElement[bool], **values: Any) -> CTE:
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


def _tell(ended: CTE, event: Event, *others: CTE) -> Select[Any]:
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


def _charge(ended: CTE) -> tuple[CTE, CTE]:
    charged = (
        insert(UsageEntry)
        .from_select(
            ["job_id", "tenant_id", "model", "images", "megapixel_steps", "gpu_milliseconds"],
            select(
                ended.c.id,
                ended.c.tenant_id,
                ended.c.request["model"].astext,
                bindparam("charged_images", type_=SmallInteger()),
                cast(ended.c.cost, UsageEntry.megapixel_steps.type),
                bindparam("charged_milliseconds", type_=BigInteger()),
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


_FENCE = (
    Job.id == bindparam("of_job"),
    Job.attempt == bindparam("of_attempt"),
    is_one_of(Job.state, {JobState.RUNNING}),
)
_SUCCEEDED = _end(
    JobState.SUCCEEDED,
    *_FENCE,
    result=bindparam("to_result"),
    error_code=None,  # of an attempt before this one
    error_message=None,
)
_SUCCEED = _tell(_SUCCEEDED, Event.SUCCEEDED, *_charge(_SUCCEEDED), *freed(_SUCCEEDED))
_FAILED = _end(
    JobState.FAILED,
    *_FENCE,
    error_code=bindparam("to_error_code"),
    error_message=bindparam("to_error_message"),
)
_FAIL = _tell(_FAILED, Event.FAILED, *freed(_FAILED))
# Locked before it is changed: what it was is known from this.
_THEIRS = (
    select(Job.id, Job.state)
    .where(
        Job.id == bindparam("of_job"),
        Job.tenant_id == bindparam("of_tenant"),
        is_one_of(Job.state, sources(JobState.CANCELED)),
    )
    .with_for_update()
    .cte("theirs")
)
_CANCELED = _end(
    JobState.CANCELED,
    Job.id == _THEIRS.c.id,
    error_code="canceled",
    error_message=bindparam("to_error_message"),
)
_WAS_RUNNING = (
    select(_CANCELED.c.tenant_id, _CANCELED.c.queue)
    .join(_THEIRS, _THEIRS.c.id == _CANCELED.c.id)
    .where(is_one_of(_THEIRS.c.state, {JobState.RUNNING}))
    .cte("was_running")
)
_CANCEL = _tell(_CANCELED, Event.CANCELED, *freed(_WAS_RUNNING))


def _first(column: InstrumentedAttribute[Any], *conditions: ColumnElement[bool]) -> CTE:
    """Choose up to `at_most` jobs, those with the least of `column` first."""
    return (
        select(Job.id)
        .where(*conditions)
        .order_by(column)
        .limit(bindparam("at_most", type_=BigInteger()))
        .with_for_update(skip_locked=True)
        .cte("first")
    )


_ABANDONED = _first(
    Job.lease_expires_at,
    is_one_of(Job.state, {JobState.RUNNING}),
    Job.lease_expires_at < func.now(),
    Job.attempt >= Job.max_attempts,
)
_FAIL_ABANDONED = _tell(
    _end(
        JobState.FAILED,
        Job.id == _ABANDONED.c.id,
        error_code=WORKER_LOST,
        error_message="the worker stopped answering (attempt " + cast(Job.attempt, String()) + ")",
    ),
    Event.FAILED,
)
_OVERDUE = _first(
    Job.created_at,
    is_one_of(Job.state, {JobState.QUEUED}),
    Job.created_at < from_now(bindparam("waited_seconds", type_=Double())),
)
_FAIL_OVERDUE = _tell(
    _end(
        JobState.FAILED,
        Job.id == _OVERDUE.c.id,
        error_code="queue_time_exceeded",
        error_message=bindparam("to_error_message"),
    ),
    Event.FAILED,
)
