"""Recording what came of attempts to deliver, many in one statement; and judging their lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from sqlalchemy import (
    CTE,
    Boolean,
    DateTime,
    Double,
    Executable,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.domain.delivery import DeliveryClaim, DeliveryState
from common.postgres.models import Delivery, DeliveryAttempt, TenantOrigin
from common.postgres.repositories.columns import from_now, is_found_in, spelled
from common.postgres.repositories.deliveries.circuit_breaker import held_until, judged_lines
from common.postgres.repositories.deliveries.origins import OriginKey
from common.postgres.statements import Executor
from common.settings import WebhookSettings


@dataclass(frozen=True, slots=True)
class AttemptLog:
    """What the log keeps of one attempt.

    `error` is one word, None where an answer came. `ended_by` is one word for what ended the
    delivery with it, None where it was delivered or goes on.
    """

    started_at: datetime
    duration: timedelta
    status_code: int | None
    error: str | None
    answer: str
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What came of a claim: its next state and the log.

    `wait_seconds` is for one that goes on: from now by the database's clock, which is also what
    they are waited by. `is_well` says what the attempt tells of the receiver, None for nothing.
    """

    claim: DeliveryClaim
    state: DeliveryState
    log: AttemptLog
    wait_seconds: float | None = None
    is_well: bool | None = None


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a line's breaker opens, and for how long.

    Of at least `requests` recorded within `window_seconds`, `failed_part` have failed.
    """

    window_seconds: float
    requests: int
    failed_part: float
    open_seconds: float

    @classmethod
    def of(cls, settings: WebhookSettings) -> Self:
        """Give those of the settings."""
        return cls(
            window_seconds=settings.breaker_window_seconds,
            requests=settings.breaker_min_requests,
            failed_part=settings.breaker_failure_ratio,
            open_seconds=settings.breaker_open_seconds,
        )


@dataclass(frozen=True, slots=True)
class RecordedAttempts:
    """Whose claims held, the lines whose breaker has opened, and whether a line has room again."""

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
    """Write attempts down, each under its claim's fence, and what follows for its line.

    A claim that is missing from the answer was lost; nothing of it has been written.
    """
    values = {
        "per_origin": per_origin,
        "window_seconds": -rules.window_seconds,
        "least_requests": rules.requests,
        "failed_part": rules.failed_part,
        "open_seconds": rules.open_seconds,
        **{
            _bound(name): [give(outcome) for outcome in outcomes]
            for name, (_, give) in _GIVEN.items()
        },
    }
    rows = (await connection.execute(_RECORD, values)).all()
    return RecordedAttempts(
        held=frozenset(DeliveryClaim(row[0], row[1]) for row in rows),
        opened=frozenset((row[2], row[3]) for row in rows if row[4]),
        has_room=any(row[5] for row in rows),
    )


def _bound(name: str) -> str:
    # A parameter that is called like a column would be written to it.
    return f"all_{name}"


def _said(outcome: DeliveryResult) -> str:
    # Postgres keeps no NUL in a text; a receiver may well send one.
    return outcome.log.answer.replace("\0", "\N{REPLACEMENT CHARACTER}")


_GIVEN: Final[dict[str, tuple[Any, Any]]] = {
    "id": (Uuid(), lambda o: o.claim.delivery_id),
    "attempt": (Integer(), lambda o: o.claim.attempt),
    "state": (Text(), lambda o: o.state.value),
    "wait_seconds": (Double(), lambda o: o.wait_seconds),
    "is_well": (Boolean(), lambda o: o.is_well),
    "started_at": (DateTime(timezone=True), lambda o: o.log.started_at),
    "duration_ms": (Integer(), lambda o: round(o.log.duration / timedelta(milliseconds=1))),
    "status_code": (Integer(), lambda o: o.log.status_code),
    "error": (Text(), lambda o: o.log.error),
    "answer": (Text(), _said),
    "ended_by": (Text(), lambda o: o.log.ended_by),
}
_ZERO: Final = spelled(0)


def _given() -> CTE:
    arrays = [bindparam(_bound(name), type_=ARRAY(kind)) for name, (kind, _) in _GIVEN.items()]
    columns = func.unnest(*arrays).table_valued(*_GIVEN).render_derived()
    return select(
        *(cast(columns.c[name], kind).label(name) for name, (kind, _) in _GIVEN.items())
    ).cte("given")


def _moved(given: CTE) -> CTE:
    goes_on = given.c.state == literal_column(f"'{DeliveryState.PENDING}'")
    failure = given.c.state != literal_column(f"'{DeliveryState.DELIVERED}'")
    return (
        update(Delivery)
        .where(
            Delivery.id == given.c.id,
            Delivery.attempt == given.c.attempt,
            is_found_in(Delivery.state, DeliveryState.SENDING),
        )
        .values(
            state=given.c.state,
            failures=Delivery.failures + cast(failure, Integer()),
            claimed_by=None,
            lease_expires_at=None,
            available_at=case(
                (goes_on, from_now(given.c.wait_seconds)), else_=Delivery.available_at
            ),
            finished_at=case((~goes_on, func.now())),
        )
        .returning(
            Delivery.id,
            Delivery.attempt,
            Delivery.tenant_id,
            Delivery.origin,
            given.c.is_well,
        )
        .cte("moved")
    )


def _logged(given: CTE, moved: CTE) -> CTE:
    names = ("attempt", "started_at", "duration_ms", "status_code", "error", "answer", "ended_by")
    return (
        insert(DeliveryAttempt)
        .from_select(
            ["delivery_id", *names, "next_attempt_at"],
            select(
                moved.c.id,
                *(given.c[name] for name in names),
                from_now(given.c.wait_seconds),  # no wait: NULL, no next time
            ).join(moved, and_(moved.c.id == given.c.id, moved.c.attempt == given.c.attempt)),
        )
        .cte("logged")
    )


def _recording() -> Executable:
    given = _given()
    moved = _moved(given)
    judged = judged_lines(moved)
    same = and_(
        TenantOrigin.tenant_id == judged.c.tenant_id, TenantOrigin.origin == judged.c.origin
    )
    names = ("sending", "counted_since", "requests", "failed", "open_until")
    written = (
        update(TenantOrigin)
        .where(same)
        .values(
            **{name: judged.c[name] for name in names},
            held_until=held_until(judged.c.sending, judged.c.open_until),
        )
        .returning(
            TenantOrigin.tenant_id,
            TenantOrigin.origin,
            judged.c.has_opened,
            and_(judged.c.was_held, TenantOrigin.held_until <= func.now()).label("has_room"),
        )
        .cte("written")
    )
    return (
        select(
            moved.c.id,
            moved.c.attempt,
            moved.c.tenant_id,
            moved.c.origin,
            func.coalesce(written.c.has_opened, false()),
            func.coalesce(written.c.has_room, false()),
        )
        .outerjoin(
            written,
            and_(written.c.tenant_id == moved.c.tenant_id, written.c.origin == moved.c.origin),
        )
        .add_cte(_logged(given, moved))
    )


_RECORD: Final = _recording()
