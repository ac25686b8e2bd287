"""Taking webhook deliveries and recording what came of each attempt."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Insert, Select, bindparam, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import DeliveryClaim, DeliveryState, Event, sources
from common.domain.record import JobRecord
from common.models import Delivery, DeliveryAttempt, Job, WebhookSecret
from common.repositories.columns import JOB_COLUMNS, from_now, is_one_of, job_record


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A claimed delivery with all that is needed to send it.

    `secrets` are the tenant's live ones, newest first. `failures` is the place in the schedule.
    """

    claim: DeliveryClaim
    event: Event
    url: str
    failures: int
    job: JobRecord
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptLog:
    """What the log keeps of one attempt; `error` is one word, None where an answer came."""

    started_at: datetime
    duration: timedelta
    status_code: int | None
    error: str | None
    answer: str


async def claim_deliveries(
    connection: AsyncConnection, *, dispatcher: str, limit: int, lease_seconds: float
) -> list[DueDelivery]:
    """Take up to `limit` deliveries that are due, the longest due first."""
    rows = await connection.execute(_claiming(dispatcher, limit, lease_seconds))
    return [
        DueDelivery(
            claim=DeliveryClaim(row.delivery_id, row.delivery_attempt),
            event=Event(row.event),
            url=row.url,
            failures=row.failures,
            job=job_record(row),
            secrets=tuple(row.secrets or ()),
        )
        for row in rows
    ]


@cache  # putting it together takes longer than running it, and every dispatcher polls
def _claiming(dispatcher: str, limit: int, lease_seconds: float) -> Select[Any]:
    due = (
        select(Delivery.id)
        .where(
            is_one_of(Delivery.state, sources(DeliveryState.SENDING)),
            Delivery.available_at <= func.now(),
        )
        .order_by(Delivery.available_at)
        .limit(literal(limit, literal_execute=True))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(Delivery)
        .where(Delivery.id == due.c.id)
        .values(
            state=DeliveryState.SENDING,
            attempt=Delivery.attempt + 1,
            claimed_by=dispatcher,
            lease_expires_at=from_now(lease_seconds),
        )
        .returning(
            Delivery.id,
            Delivery.attempt,
            Delivery.event,
            Delivery.url,
            Delivery.failures,
            Delivery.job_id,
            Delivery.available_at,
        )
        .cte("claimed")
    )
    live_secrets = (
        select(func.array_agg(aggregate_order_by(WebhookSecret.secret, WebhookSecret.id.desc())))
        .where(
            WebhookSecret.tenant_id == Job.tenant_id,
            or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > func.now()),
        )
        .correlate(Job)
        .scalar_subquery()
    )
    return (
        select(
            *JOB_COLUMNS,
            claimed.c.id.label("delivery_id"),
            claimed.c.attempt.label("delivery_attempt"),
            claimed.c.event,
            claimed.c.url,
            claimed.c.failures,
            live_secrets.label("secrets"),
        )
        .join_from(claimed, Job, Job.id == claimed.c.job_id)
        .order_by(claimed.c.available_at)
    )


async def end_delivery(
    connection: AsyncConnection, claim: DeliveryClaim, state: DeliveryState, log: AttemptLog
) -> bool:
    """Record the attempt that ended a delivery; False if the claim was lost."""
    return await _record(connection, claim, state, log, next_at=None)


async def retry_delivery(
    connection: AsyncConnection, claim: DeliveryClaim, at: datetime, log: AttemptLog
) -> bool:
    """Record a failed attempt and plan the next one; False if the claim was lost."""
    return await _record(connection, claim, DeliveryState.PENDING, log, next_at=at)


async def _record(
    connection: AsyncConnection,
    claim: DeliveryClaim,
    state: DeliveryState,
    log: AttemptLog,
    *,
    next_at: datetime | None,
) -> bool:
    known = {
        "claimed_id": claim.delivery_id,
        "fence": claim.attempt,
        "begun": log.started_at,
        "took_ms": round(log.duration / timedelta(milliseconds=1)),
        "answered": log.status_code,
        "trouble": log.error,
        # Postgres keeps no NUL in a text; a receiver may well send one.
        "said": log.answer.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "next_at": next_at,
    }
    return (await connection.execute(_recording(state), known)).rowcount == 1


@cache
def _recording(state: DeliveryState) -> Insert:
    next_at = bindparam("next_at", type_=DeliveryAttempt.next_attempt_at.type)
    when = "available_at" if state is DeliveryState.PENDING else "finished_at"
    moved = (
        update(Delivery)
        .where(
            Delivery.id == bindparam("claimed_id"),
            Delivery.attempt == bindparam("fence"),
            is_one_of(Delivery.state, sources(state)),
        )
        .values(
            {
                "state": state,
                "failures": Delivery.failures + (0 if state is DeliveryState.DELIVERED else 1),
                "claimed_by": None,
                "lease_expires_at": None,
                when: next_at if state is DeliveryState.PENDING else func.now(),
            }
        )
        .returning(Delivery.id, Delivery.attempt)
        .cte("moved")
    )
    logged = {
        DeliveryAttempt.delivery_id: moved.c.id,
        DeliveryAttempt.attempt: moved.c.attempt,
        DeliveryAttempt.started_at: bindparam("begun", type_=DeliveryAttempt.started_at.type),
        DeliveryAttempt.duration_ms: bindparam("took_ms", type_=DeliveryAttempt.duration_ms.type),
        DeliveryAttempt.status_code: bindparam("answered", type_=DeliveryAttempt.status_code.type),
        DeliveryAttempt.error: bindparam("trouble", type_=DeliveryAttempt.error.type),
        DeliveryAttempt.answer: bindparam("said", type_=DeliveryAttempt.answer.type),
        DeliveryAttempt.next_attempt_at: next_at,
    }
    return insert(DeliveryAttempt).from_select(list(logged), select(*logged.values()))


async def next_due(connection: AsyncConnection) -> datetime | None:
    """Give the time of the earliest pending delivery, None if there is none."""
    statement = select(func.min(Delivery.available_at)).where(
        is_one_of(Delivery.state, {DeliveryState.PENDING})
    )
    return (await connection.execute(statement)).scalar()
