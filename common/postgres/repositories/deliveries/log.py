"""Deliveries as their tenant sees them: the state of each, and its logged attempts.

The conditions of a listing are optional, so its statements are put together with SQLAlchemy Core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    null,
    select,
    true,
)

from common.domain.delivery import (
    AttemptOutcome,
    AttemptRecord,
    DeliveryRecord,
    DeliveryState,
    Event,
)
from common.postgres.expressions import is_one_of, literal_int
from common.postgres.models import Delivery, DeliveryAttempt, Job, TenantOrigin
from common.postgres.statements import Executor

# One page reads no more rows than this: otherwise a rare state would be searched for in all.
MOST_LOOKED_AT: Final = 50_000
# Repeated redeliveries leave many attempts; of these the latest are shown.
MOST_ATTEMPTS: Final = 50
# The rows a statement reads: few sizes, because each is part of its text.
_SIZES: Final = (51, 201)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Conditions of a listing; None leaves one out.

    `track_id` is compared as text: 17 finds both the number and the string.
    """

    job_id: int | None = None
    track_id: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, latest job first; the next page begins after `reached`, None is the end."""

    deliveries: list[DeliveryRecord]
    reached: int | None


class _Asked(NamedTuple):
    """Conditions that a statement has; their values are bound."""

    job_id: bool
    track_id: bool
    after: bool


async def list_deliveries(
    connection: Executor, tenant_id: int, chosen: DeliveryFilter, *, after: int | None, limit: int
) -> DeliveryPage:
    """Return up to `limit` deliveries of jobs with ids below `after`.

    If the tenant has very many, a page may be short or empty although there is a next one.
    """
    asked = _Asked(chosen.job_id is not None, chosen.track_id is not None, after is not None)
    named = {"job_id": chosen.job_id, "track_id": chosen.track_id, "after": after}
    values = {f"of_{name}": value for name, value in named.items() if value is not None}
    values["of_tenant"] = tenant_id
    end = 0
    if chosen.state is not None:
        end = (await connection.execute(_looking(asked), values)).scalar() or 0
    size = next(size for size in _SIZES if size > limit)
    listing = _listing(asked, chosen.state, size)
    rows = (await connection.execute(listing, {**values, "from_job": end})).all()
    deliveries = [_record(row) for row in rows]
    if len(deliveries) > limit:
        return DeliveryPage(deliveries[:limit], deliveries[limit - 1].job_id)
    return DeliveryPage(deliveries, end or None)


async def find_delivery(
    connection: Executor, tenant_id: int, delivery_id: UUID
) -> DeliveryRecord | None:
    """Return one delivery; None if the tenant has none of this id."""
    values = {"of_tenant": tenant_id, "of_delivery": delivery_id}
    row = (await connection.execute(_FIND, values)).first()
    return None if row is None else _record(row)


async def read_attempts(connection: Executor, delivery_id: UUID) -> list[AttemptRecord]:
    """Return a delivery's attempts that are still in the log, latest first."""
    rows = (await connection.execute(_ATTEMPTS, {"of_delivery": delivery_id})).all()
    return [AttemptRecord(*row) for row in rows]


def _record(row: Sequence[Any]) -> DeliveryRecord:
    shown, last = row[:_SHOWN], row[_SHOWN:]
    attempt = None if last[0] is None else AttemptOutcome(*last)
    return DeliveryRecord(shown[0], Event(shown[1]), *[*shown[2:], attempt])


# The statements, put together once: that takes longer than running them.

_OUTCOME: Final = (
    DeliveryAttempt.attempt,
    DeliveryAttempt.started_at,
    DeliveryAttempt.duration_ms,
    DeliveryAttempt.status_code,
    DeliveryAttempt.error,
    DeliveryAttempt.ended_by,
)
_THEIRS: Final = Delivery.tenant_id == bindparam("of_tenant", type_=BigInteger())
_ATTEMPTS: Final = (
    select(*_OUTCOME, DeliveryAttempt.answer, DeliveryAttempt.next_attempt_at)
    .where(DeliveryAttempt.delivery_id == bindparam("of_delivery", type_=Uuid()))
    .order_by(DeliveryAttempt.id.desc())
    .limit(literal_int(MOST_ATTEMPTS))
)


def _matching(asked: _Asked) -> list[ColumnElement[bool]]:
    conditions = [_THEIRS]
    if asked.job_id:
        conditions.append(Delivery.job_id == bindparam("of_job_id", type_=BigInteger()))
    if asked.track_id:
        wanted = bindparam("of_track_id", type_=Text())
        conditions += [
            Delivery.track_hash
            == func.hashtextextended(wanted, literal_int(0), type_=BigInteger()),
            # Two spellings may have one hash.
            exists().where(Job.id == Delivery.job_id, Job.track_id.op("#>>")(_NO_STEPS) == wanted),
        ]
    if asked.after:
        conditions.append(Delivery.job_id < bindparam("of_after", type_=BigInteger()))
    return conditions


@cache
def _looking(asked: _Asked) -> Select[Any]:
    """Return a statement that finds the last row a page may read; no row if all may be read."""
    return (
        select(Delivery.job_id)
        .where(*_matching(asked))
        .order_by(Delivery.job_id.desc())
        .offset(literal_int(MOST_LOOKED_AT - 1))
        .limit(literal_int(1))
    )


@cache
def _listing(asked: _Asked, state: DeliveryState | None, size: int) -> Select[Any]:
    conditions = _matching(asked)
    conditions.append(Delivery.job_id >= bindparam("from_job", type_=BigInteger()))
    if state is not None:
        conditions.append(is_one_of(Delivery.state, {state}))
    return _shown(
        select(Delivery.id)
        .where(*conditions)
        .order_by(Delivery.job_id.desc())
        .limit(literal_int(size))
    )


def _shown(chosen: Select[UUID]) -> Select[Any]:
    """Return a statement that reads what is shown of the chosen deliveries, each by its keys."""
    of_page = chosen.subquery("chosen")
    last = (
        select(*_OUTCOME)
        .where(DeliveryAttempt.delivery_id == of_page.c.id)
        .order_by(DeliveryAttempt.id.desc())
        .limit(literal_int(1))
        .lateral("last")
    )
    return (
        select(*_COLUMNS, *last.c)
        .select_from(of_page)
        .join(Delivery, Delivery.id == of_page.c.id)
        .join(Job, Job.id == Delivery.job_id)
        .outerjoin(
            TenantOrigin,
            and_(
                TenantOrigin.tenant_id == Delivery.tenant_id,
                TenantOrigin.origin == Delivery.origin,
            ),
        )
        .outerjoin(last, true())
        .order_by(Delivery.job_id.desc())
    )


_NO_STEPS: Final[ColumnElement[Any]] = literal_column("'{}'")
_PAUSED_UNTIL: Final = case(
    (TenantOrigin.open_until > func.now(), TenantOrigin.open_until), else_=null()
)
_COLUMNS: Final = (
    Delivery.id,
    Delivery.event,
    Delivery.job_id,
    Job.track_id,
    Delivery.url,
    Delivery.state,
    Delivery.attempt,
    Delivery.failures,
    Delivery.created_at,
    Delivery.finished_at,
    case(
        (
            is_one_of(Delivery.state, {DeliveryState.PENDING}),
            func.greatest(Delivery.available_at, _PAUSED_UNTIL),
        ),
        else_=null(),
    ).label("next_attempt_at"),
    _PAUSED_UNTIL.label("paused_until"),
)
_SHOWN: Final = len(_COLUMNS)
_FIND: Final = _shown(
    select(Delivery.id).where(_THEIRS, Delivery.id == bindparam("of_delivery", type_=Uuid()))
)
