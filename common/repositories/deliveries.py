"""Taking webhook deliveries and recording what came of each attempt."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Double,
    Executable,
    Select,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from common.direct import Executor
from common.domain.delivery import DeliveryClaim, DeliveryState, Event, sources
from common.domain.record import JobRecord
from common.models import Delivery, DeliveryAttempt, Job, WebhookSecret
from common.repositories.columns import JOB_COLUMNS, from_now, is_one_of, job_record, spelled


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
    connection: Executor, *, dispatcher: str, limit: int, lease_seconds: float
) -> list[DueDelivery]:
    """Take up to `limit` deliveries that are due, the longest due first."""
    values = {"by_dispatcher": dispatcher, "lease_seconds": lease_seconds}
    rows = (await connection.execute(_claiming(limit), values)).all()
    return [_due(job_record(row[len(_CLAIMED) :]), *row[: len(_CLAIMED)]) for row in rows]


def _due(
    job: JobRecord,
    delivery_id: UUID,
    attempt: int,
    event: str,
    url: str,
    failures: int,
    secrets: list[str] | None,
) -> DueDelivery:
    claim = DeliveryClaim(delivery_id, attempt)
    return DueDelivery(claim, Event(event), url, failures, job, tuple(secrets or ()))


_CLAIMED = ("id", "attempt", "event", "url", "failures", "secrets")


_LIVE_SECRETS = (
    select(func.array_agg(aggregate_order_by(WebhookSecret.secret, WebhookSecret.id.desc())))
    .where(
        WebhookSecret.tenant_id == Job.tenant_id,
        or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > func.now()),
    )
    .correlate(Job)
    .scalar_subquery()
)


@cache  # putting it together takes longer than running it, and every dispatcher polls
def _claiming(limit: int) -> Select[Any]:
    due = (
        select(Delivery.id)
        .where(
            is_one_of(Delivery.state, sources(DeliveryState.SENDING)),
            Delivery.available_at <= func.now(),
        )
        .order_by(Delivery.available_at)
        .limit(spelled(limit))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(Delivery)
        .where(Delivery.id == due.c.id)
        .values(
            state=DeliveryState.SENDING,
            attempt=Delivery.attempt + 1,
            claimed_by=bindparam("by_dispatcher"),
            lease_expires_at=from_now(bindparam("lease_seconds", type_=Double())),
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
    return (
        select(
            *(claimed.c[name] for name in _CLAIMED[:-1]),
            _LIVE_SECRETS.label(_CLAIMED[-1]),
            *JOB_COLUMNS,
        )
        .join_from(claimed, Job, Job.id == claimed.c.job_id)
        .order_by(claimed.c.available_at)
    )


async def end_delivery(
    connection: Executor, claim: DeliveryClaim, state: DeliveryState, log: AttemptLog
) -> bool:
    """Record the attempt that ended a delivery; False if the claim was lost."""
    return await _record(connection, claim, state, log, wait_seconds=None)


async def retry_delivery(
    connection: Executor, claim: DeliveryClaim, log: AttemptLog, *, seconds: float
) -> bool:
    """Record a failed attempt and plan the next one; False if the claim was lost.

    `seconds` count from now by the database's clock, which is also what they are waited by.
    """
    return await _record(connection, claim, DeliveryState.PENDING, log, wait_seconds=seconds)


async def _record(
    connection: Executor,
    claim: DeliveryClaim,
    state: DeliveryState,
    log: AttemptLog,
    *,
    wait_seconds: float | None,
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
        "wait_seconds": wait_seconds,
    }
    return (await connection.execute(_recording(state), known)).first() is not None


@cache
def _recording(state: DeliveryState) -> Executable:
    next_at = from_now(bindparam("wait_seconds", type_=Double()))  # no wait: NULL, no next time
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
    chosen = insert(DeliveryAttempt).from_select(list(logged), select(*logged.values()))
    return chosen.returning(DeliveryAttempt.id)
