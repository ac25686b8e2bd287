"""Keeping claims, and giving them back."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Double, Executable, bindparam, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import Claim, JobState
from common.postgres.models import Job
from common.postgres.repositories.columns import from_now, is_one_of
from common.postgres.repositories.fair_queue.shares import freed
from common.postgres.statements import Executor


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
    left = (
        update(Job)
        .where(
            Job.id == bindparam("of_job"),
            Job.attempt == bindparam("of_attempt"),
            is_one_of(Job.state, {JobState.RUNNING}),
        )
        .values(state=JobState.QUEUED, claimed_by=None, lease_expires_at=None, **values)
        .returning(Job.id, Job.tenant_id, Job.queue, Job.available_at)
        .cte("left")
    )
    freed_now = freed(left, ready=left.c.available_at <= func.now())
    return select(left.c.id).add_cte(*freed_now)


_RELEASE = _requeue(
    max_attempts=Job.max_attempts + 1,
    available_at=from_now(bindparam("in_seconds", type_=Double())),
    started_at=None,
)
_RETRY_LATER = _requeue(
    available_at=from_now(bindparam("in_seconds", type_=Double())),
    suspect=False,
    error_code=bindparam("told_code"),
    error_message=bindparam("told_message"),
)
