"""Renew claims, release them, and requeue jobs after failed attempts."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import Claim, JobState
from common.postgres.expressions import from_now, is_one_of
from common.postgres.models import Job
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor


async def renew_claims(
    connection: AsyncConnection, claims: Sequence[Claim], lease_seconds: float
) -> set[Claim]:
    """Extend the leases of claims to `lease_seconds` from now; return the claims still held.

    A claim missing from the result is lost: its job was canceled, requeued or ended.
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
    """Put a claimed job back into its queue; return False if the claim was lost.

    This does not use up an attempt. The job can be claimed again after `seconds`. If the job is a
    suspect (its last attempt lost its worker), it remains a suspect.
    """
    values = _fence(claim) | {"in_seconds": seconds}
    return (await connection.execute(_RELEASE, values)).first() is not None


async def retry_later(
    connection: Executor, claim: Claim, *, seconds: float, code: str, message: str
) -> bool:
    """Requeue a job after a failed attempt; return False if the claim was lost.

    The job can be claimed again after `seconds`; until then its row shows `code` and `message`.
    """
    values = _fence(claim) | {
        "in_seconds": seconds,
        "to_error_code": code,
        "to_error_message": message,
    }
    return (await connection.execute(_RETRY_LATER, values)).first() is not None


def _fence(claim: Claim) -> dict[str, Any]:
    return {"of_job": claim.job_id, "of_attempt": claim.attempt}


_RELEASE: Final = load_sql(__package__, "release_claim.sql", columns=(Job.id,))
_RETRY_LATER: Final = load_sql(__package__, "retry_later.sql", columns=(Job.id,))
