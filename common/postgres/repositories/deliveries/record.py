"""Record the outcomes of delivery attempts, and update the circuit breakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from sqlalchemy import Boolean, Executable, column

from common.domain.delivery import DeliveryClaim, DeliveryState
from common.postgres.models import Delivery
from common.postgres.repositories.deliveries.origins import OriginKey
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor
from common.settings import WebhookSettings


@dataclass(frozen=True, slots=True)
class AttemptLog:
    """Log entry of one delivery attempt.

    `answer` is the start of the response body; `error` is the reason why there was no response,
    such as `timeout`, or None if there was a response. `ended_by` is the reason why the delivery
    failed for good with this attempt, or None if it was delivered or will be retried.
    """

    started_at: datetime
    duration: timedelta
    status_code: int | None
    error: str | None
    answer: str
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Outcome of an attempt at a claimed delivery: the delivery's next state, and the log entry.

    `wait_seconds` is the time until the retry, or None if there is no retry. `is_healthy` tells the
    circuit breaker whether the receiver is healthy; None means that the attempt says nothing about
    the receiver and is not counted.
    """

    claim: DeliveryClaim
    state: DeliveryState
    log: AttemptLog
    wait_seconds: float | None = None
    is_healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """Conditions under which an origin's circuit breaker opens, and how long it stays open.

    It opens if, within `window_seconds`, there were at least `min_requests` attempts, of which at
    least the fraction `failure_ratio` failed. It stays open for `open_seconds`.
    """

    window_seconds: float
    min_requests: int
    failure_ratio: float
    open_seconds: float

    @classmethod
    def from_settings(cls, settings: WebhookSettings) -> Self:
        """Return the rules defined by the settings."""
        return cls(
            window_seconds=settings.breaker_window_seconds,
            min_requests=settings.breaker_min_requests,
            failure_ratio=settings.breaker_failure_ratio,
            open_seconds=settings.breaker_open_seconds,
        )


@dataclass(frozen=True, slots=True)
class RecordedAttempts:
    """Result of recording attempts.

    `held` are the claims that were still valid, `opened_origins` the origins whose circuit breaker
    opened. `has_capacity` is true if an origin that was at its limit can take deliveries again.
    """

    held: frozenset[DeliveryClaim]
    opened_origins: frozenset[OriginKey]
    has_capacity: bool


async def record_attempts(
    connection: Executor,
    outcomes: Sequence[DeliveryResult],
    *,
    per_origin: int,
    rules: BreakerRules,
) -> RecordedAttempts:
    """Record delivery attempts, each fenced by its claim, and update their origins' counters.

    Nothing is written for a claim that another dispatcher has taken over; it is missing from
    `held`.
    """
    logs = [outcome.log for outcome in outcomes]
    values = {
        "per_origin": per_origin,
        "window_seconds": rules.window_seconds,
        "min_requests": rules.min_requests,
        "failure_ratio": rules.failure_ratio,
        "open_seconds": rules.open_seconds,
        "delivery_ids": [outcome.claim.delivery_id for outcome in outcomes],
        "attempts": [outcome.claim.attempt for outcome in outcomes],
        "states": [outcome.state.value for outcome in outcomes],
        "waits_seconds": [outcome.wait_seconds for outcome in outcomes],
        "healthy": [outcome.is_healthy for outcome in outcomes],
        "started_at": [log.started_at for log in logs],
        "durations_ms": [round(log.duration / timedelta(milliseconds=1)) for log in logs],
        "status_codes": [log.status_code for log in logs],
        "errors": [log.error for log in logs],
        # A receiver may send NUL, which Postgres cannot store in a text.
        "answers": [log.answer.replace("\0", "\N{REPLACEMENT CHARACTER}") for log in logs],
        "endings": [log.ended_by for log in logs],
    }
    rows = (await connection.execute(_RECORD_ATTEMPTS, values)).all()
    return RecordedAttempts(
        held=frozenset(DeliveryClaim(row[0], row[1]) for row in rows),
        opened_origins=frozenset((row[2], row[3]) for row in rows if row[4]),
        has_capacity=any(row[5] for row in rows),
    )


_RECORD_ATTEMPTS: Final[Executable] = load_sql(
    __package__,
    "record_attempts.sql",
    columns=(
        Delivery.id,
        Delivery.attempt,
        Delivery.tenant_id,
        Delivery.origin,
        column("has_opened", Boolean()),
        column("has_capacity", Boolean()),
    ),
)
