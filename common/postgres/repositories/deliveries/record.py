"""Record the outcomes of attempts to deliver, and count them in circuit breakers."""

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
    """Entry of the log for one attempt.

    `error` is one word, None where a response came. `ended_by` is one word for what ended the
    delivery with this attempt, None where it was delivered or will be tried again.
    """

    started_at: datetime
    duration: timedelta
    status_code: int | None
    error: str | None
    answer: str
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """Outcome of a claimed delivery: its next state, and the log entry.

    `wait_seconds` until the next attempt, if there is to be one, by the database's clock, by which
    claims find it due. `is_well` is whether the receiver works, None if the attempt does not show.
    """

    claim: DeliveryClaim
    state: DeliveryState
    log: AttemptLog
    wait_seconds: float | None = None
    is_well: bool | None = None


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When an origin's circuit breaker opens, and for how long.

    It opens when `failed_part` of at least `requests` within `window_seconds` have failed.
    """

    window_seconds: float
    requests: int
    failed_part: float
    open_seconds: float

    @classmethod
    def of(cls, settings: WebhookSettings) -> Self:
        """Return the rules of these settings."""
        return cls(
            window_seconds=settings.breaker_window_seconds,
            requests=settings.breaker_min_requests,
            failed_part=settings.breaker_failure_ratio,
            open_seconds=settings.breaker_open_seconds,
        )


@dataclass(frozen=True, slots=True)
class RecordedAttempts:
    """Result: claims still held, origins whose breaker opened, whether one has room again."""

    held: frozenset[DeliveryClaim]
    opened: frozenset[OriginKey]
    has_room: bool


async def record_attempts(
    connection: Executor,
    outcomes: Sequence[DeliveryResult],
    *,
    per_origin: int,
    rules: BreakerRules,
) -> RecordedAttempts:
    """Record attempts, each under its claim's fence, and update their origins.

    A claim missing from `held` was lost, and nothing of it has been written.
    """
    logs = [outcome.log for outcome in outcomes]
    values = {
        "per_origin": per_origin,
        "window_seconds": rules.window_seconds,
        "least_requests": rules.requests,
        "failed_part": rules.failed_part,
        "open_seconds": rules.open_seconds,
        "delivery_ids": [outcome.claim.delivery_id for outcome in outcomes],
        "attempts": [outcome.claim.attempt for outcome in outcomes],
        "states": [outcome.state.value for outcome in outcomes],
        "waits_seconds": [outcome.wait_seconds for outcome in outcomes],
        "well": [outcome.is_well for outcome in outcomes],
        "started_at": [log.started_at for log in logs],
        "durations_ms": [round(log.duration / timedelta(milliseconds=1)) for log in logs],
        "status_codes": [log.status_code for log in logs],
        "errors": [log.error for log in logs],
        # Postgres stores no NUL in a text; a receiver may well send one.
        "answers": [log.answer.replace("\0", "\N{REPLACEMENT CHARACTER}") for log in logs],
        "endings": [log.ended_by for log in logs],
    }
    rows = (await connection.execute(_RECORD, values)).all()
    return RecordedAttempts(
        held=frozenset(DeliveryClaim(row[0], row[1]) for row in rows),
        opened=frozenset((row[2], row[3]) for row in rows if row[4]),
        has_room=any(row[5] for row in rows),
    )


_RECORD: Final[Executable] = load_sql(
    __package__,
    "record_attempts.sql",
    columns=(
        Delivery.id,
        Delivery.attempt,
        Delivery.tenant_id,
        Delivery.origin,
        column("has_opened", Boolean()),
        column("has_room", Boolean()),
    ),
)
