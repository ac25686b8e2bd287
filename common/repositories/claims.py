"""Taking jobs, keeping them, and giving them back."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Executable,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from common.direct import Executor
from common.domain.errors import UnreadableJobError
from common.domain.job import Claim, JobState, sources
from common.domain.record import JobRecord
from common.models import Job
from common.repositories.columns import JOB_COLUMNS, from_now, is_one_of, job_record

# The size is part of the statement's text: with a bound LIMIT Postgres settles on a generic plan.
ONE: ColumnElement[int] = literal_column("1")


_ASKED = (
    func.unnest(bindparam("of_queues", type_=ARRAY(Text))).table_valued("queue").render_derived()
)
# Evaluated queue by queue, no further than to the first job found: the outer limit stops it.
_BEST_OF_QUEUE = (
    select(Job.id)
    .where(
        Job.queue == _ASKED.c.queue,
        is_one_of(Job.state, sources(JobState.RUNNING)),
        Job.available_at <= func.now(),
    )
    .order_by(Job.priority.desc(), Job.id)
    .limit(ONE)
    .with_for_update(skip_locked=True)
    .lateral("best_of_queue")
)
_BEST = select(_BEST_OF_QUEUE.c.id).join_from(_ASKED, _BEST_OF_QUEUE, true()).limit(ONE).cte("best")
# Put together once: that takes longer than running it.
_CLAIM = (
    update(Job)
    .where(Job.id == _BEST.c.id)
    .values(
        state=JobState.RUNNING,
        attempt=Job.attempt + 1,
        claimed_by=bindparam("by_worker"),
        lease_expires_at=from_now(bindparam("lease_seconds", type_=Double())),
        started_at=func.now(),
    )
    .returning(*JOB_COLUMNS, Job.max_attempts)
)


async def claim_job(
    connection: Executor, *, queues: Sequence[str], worker: str, lease_seconds: float
) -> tuple[JobRecord, int] | None:
    """Take the best job of the first of `queues` that has one, with its `max_attempts`.

    None if no job waits in any of them.

    Rows another claimer is just taking are skipped, so claimers never wait for each other.
    The new attempt number is the fence for every later write.

    Raises:
        UnreadableJobError: a job was taken that a newer release recorded; give its claim back.
    """
    values = {"of_queues": list(queues), "by_worker": worker, "lease_seconds": lease_seconds}
    row = (await connection.execute(_CLAIM, values)).first()
    if row is None:
        return None
    try:
        return job_record(row), row[-1]
    except (TypeError, ValueError, KeyError) as error:
        claim = Claim(*(row[JOB_COLUMNS.index(column)] for column in (Job.id, Job.attempt)))
        raise UnreadableJobError(claim, detail=str(error)) from error


async def renew_claims(
    connection: AsyncConnection, claims: Sequence[Claim], lease_seconds: float
) -> set[Claim]:
    """Extend the leases of one process's claims in one statement; give those that still hold.

    A claim that is missing from the answer is lost: canceled, taken back, or ended.
    """
    held = tuple_(Job.id, Job.attempt).in_([(claim.job_id, claim.attempt) for claim in claims])
    statement = (
        update(Job)
        .where(held, is_one_of(Job.state, {JobState.RUNNING}))
        .values(lease_expires_at=from_now(lease_seconds))
        .returning(Job.id, Job.attempt)
    )
    return {Claim(*row) for row in await connection.execute(statement)}


async def release_claim(connection: Executor, claim: Claim, *, seconds: float = 0.0) -> bool:
    """Give a job back untouched, for `seconds` from now; False if the claim was lost.

    It costs no attempt: the number stays, because a fence never falls; the allowance rises
    instead. What an earlier attempt left in the row stays too, so a suspect remains one.
    """
    values = _of(claim) | {"in_seconds": seconds}
    return (await connection.execute(_RELEASE, values)).first() is not None


async def retry_later(
    connection: Executor, claim: Claim, *, seconds: float, code: str, message: str
) -> bool:
    """Queue a job again after a failed attempt; False if the claim was lost."""
    values = _of(claim) | {"in_seconds": seconds, "told_code": code, "told_message": message}
    return (await connection.execute(_RETRY_LATER, values)).first() is not None


def _of(claim: Claim) -> dict[str, Any]:
    return {"of_job": claim.job_id, "of_attempt": claim.attempt}


def _requeue(**values: Any) -> Executable:
    return (
        update(Job)
        .where(
            Job.id == bindparam("of_job"),
            Job.attempt == bindparam("of_attempt"),
            is_one_of(Job.state, {JobState.RUNNING}),
        )
        .values(state=JobState.QUEUED, claimed_by=None, lease_expires_at=None, **values)
        .returning(Job.id)
    )


_RELEASE = _requeue(
    max_attempts=Job.max_attempts + 1,
    available_at=from_now(bindparam("in_seconds", type_=Double())),
    started_at=None,
)
_RETRY_LATER = _requeue(
    available_at=from_now(bindparam("in_seconds", type_=Double())),
    error_code=bindparam("told_code"),
    error_message=bindparam("told_message"),
)
