"""Ending jobs: the state, what it cost and the webhook that tells of it, in one statement.

One statement is one transaction: there is no moment at which a result exists without its
delivery, and none at which work is charged twice.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, String, cast, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import Event
from common.domain.job import Claim, JobState, sources
from common.domain.record import JobResult
from common.models import Delivery, Job, UsageEntry
from common.repositories.claims import fenced
from common.repositories.columns import is_one_of

SECONDS_TO_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has just ended; `delivery_id` is None where nobody asked to be told."""

    job_id: int
    file_prefix: UUID
    delivery_id: UUID | None


async def succeed(connection: AsyncConnection, claim: Claim, result: JobResult) -> Ended | None:
    """Store the result, the usage and the delivery; None if the claim was lost."""
    ended = _end(
        JobState.SUCCEEDED,
        *fenced(claim, JobState.SUCCEEDED),
        result=result.to_json(),
        error_code=None,  # of an attempt before this one
        error_message=None,
    )
    milliseconds = round(result.generation_seconds * SECONDS_TO_MILLISECONDS)
    charged = insert(UsageEntry).from_select(
        ["job_id", "tenant_id", "model", "images", "megapixel_steps", "gpu_milliseconds"],
        select(
            ended.c.id,
            ended.c.tenant_id,
            ended.c.request["model"].astext,
            literal(len(result.object_keys)),
            ended.c.cost,
            literal(milliseconds),
        ),
    )
    endings = await _tell(connection, ended, Event.SUCCEEDED, charged.cte("charged"))
    return endings[0] if endings else None


async def fail(
    connection: AsyncConnection, claim: Claim, *, code: str, message: str
) -> Ended | None:
    """Store the reason and the delivery; None if the claim was lost."""
    ended = _end(
        JobState.FAILED, *fenced(claim, JobState.FAILED), error_code=code, error_message=message
    )
    endings = await _tell(connection, ended, Event.FAILED)
    return endings[0] if endings else None


async def cancel(connection: AsyncConnection, *, tenant_id: int, job_id: int) -> Ended | None:
    """End a job at its owner's wish; None if it is not theirs or has ended already."""
    ended = _end(
        JobState.CANCELED,
        Job.id == job_id,
        Job.tenant_id == tenant_id,
        is_one_of(Job.state, sources(JobState.CANCELED)),
        error_code="canceled",
        error_message="canceled by its owner",
    )
    endings = await _tell(connection, ended, Event.CANCELED)
    return endings[0] if endings else None


async def fail_abandoned(connection: AsyncConnection, *, limit: int) -> list[Ended]:
    """Fail jobs whose last allowed attempt lost its lease: their workers died each time."""
    abandoned = (
        select(Job.id)
        .where(
            is_one_of(Job.state, {JobState.RUNNING}),
            Job.lease_expires_at < func.now(),
            Job.attempt >= Job.max_attempts,
        )
        .order_by(Job.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("abandoned")
    )
    ended = _end(
        JobState.FAILED,
        Job.id == abandoned.c.id,
        error_code="worker_lost",
        error_message="the worker stopped answering (attempt " + cast(Job.attempt, String()) + ")",
    )
    return await _tell(connection, ended, Event.FAILED)


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
        .returning(Job.id, Job.tenant_id, Job.file_prefix, Job.request, Job.cost, Job.webhook_url)
        .cte("ended")
    )


async def _tell(connection: AsyncConnection, ended: CTE, event: Event, *others: CTE) -> list[Ended]:
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
    statement = (
        select(ended.c.id, ended.c.file_prefix, outbox.c.id)
        .select_from(ended.outerjoin(outbox, outbox.c.job_id == ended.c.id))
        .add_cte(*others)
    )
    return [Ended(*row) for row in await connection.execute(statement)]
