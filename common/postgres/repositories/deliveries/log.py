"""Read deliveries and their logged attempts, as shown to their tenant by the API.

Every filter is optional, so the statements are composed with SQLAlchemy Core.
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

# Rows one page may read: otherwise a search for a rare state would read all the tenant has.
MAX_ROWS_READ: Final = 50_000
# The latest attempts of a delivery: repeated redeliveries leave many.
MAX_ATTEMPTS_SHOWN: Final = 50
# Limits of a list statement. There are few, because each is part of the text and so needs a
# prepared statement of its own.
_PAGE_SIZES: Final = (51, 201)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Filters for a list of deliveries; a filter that is None is not applied.

    `track_id` is compared as text: "17" finds both the number and the string.
    """

    job_id: int | None = None
    track_id: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One page of deliveries, latest job first.

    `next_after` is the job id to pass as `after` for the next page, or None on the last page.
    """

    deliveries: list[DeliveryRecord]
    next_after: int | None


class _UsedFilters(NamedTuple):
    """Which filters a list statement contains; their values are bound parameters."""

    job_id: bool
    track_id: bool
    after: bool


async def list_deliveries(
    connection: Executor, tenant_id: int, filters: DeliveryFilter, *, after: int | None, limit: int
) -> DeliveryPage:
    """Return up to `limit` deliveries of jobs with ids below `after` (None for the first page).

    With a filter by state, at most `MAX_ROWS_READ` rows are read, so a page may be short or empty
    even if there is a next page.
    """
    used = _UsedFilters(filters.job_id is not None, filters.track_id is not None, after is not None)
    named = {"job_id": filters.job_id, "track_id": filters.track_id, "after": after}
    values = {f"of_{name}": value for name, value in named.items() if value is not None}
    values["of_tenant"] = tenant_id
    end = 0
    if filters.state is not None:
        end = (await connection.execute(_end_statement(used), values)).scalar() or 0
    size = next(size for size in _PAGE_SIZES if size > limit)
    listing = _list_statement(used, filters.state, size)
    rows = (await connection.execute(listing, {**values, "from_job": end})).all()
    deliveries = [_to_delivery_record(row) for row in rows]
    if len(deliveries) > limit:
        return DeliveryPage(deliveries[:limit], deliveries[limit - 1].job_id)
    return DeliveryPage(deliveries, end or None)


async def find_delivery(
    connection: Executor, tenant_id: int, delivery_id: UUID
) -> DeliveryRecord | None:
    """Return one delivery, or None if the tenant has no delivery with this id."""
    values = {"of_tenant": tenant_id, "of_delivery": delivery_id}
    row = (await connection.execute(_FIND, values)).first()
    return None if row is None else _to_delivery_record(row)


async def read_attempts(connection: Executor, delivery_id: UUID) -> list[AttemptRecord]:
    """Return up to `MAX_ATTEMPTS_SHOWN` logged attempts of a delivery, latest first."""
    rows = (await connection.execute(_ATTEMPTS, {"of_delivery": delivery_id})).all()
    return [AttemptRecord(*row) for row in rows]


def _to_delivery_record(row: Sequence[Any]) -> DeliveryRecord:
    shown, last = row[:_SHOWN_COUNT], row[_SHOWN_COUNT:]
    attempt = None if last[0] is None else AttemptOutcome(*last)
    return DeliveryRecord(shown[0], Event(shown[1]), *[*shown[2:], attempt])


# Statements are composed once, because composing them takes longer than running them.

_OUTCOME_COLUMNS: Final = (
    DeliveryAttempt.attempt,
    DeliveryAttempt.started_at,
    DeliveryAttempt.duration_ms,
    DeliveryAttempt.status_code,
    DeliveryAttempt.error,
    DeliveryAttempt.ended_by,
)
_OF_TENANT: Final = Delivery.tenant_id == bindparam("of_tenant", type_=BigInteger())
_ATTEMPTS: Final = (
    select(*_OUTCOME_COLUMNS, DeliveryAttempt.answer, DeliveryAttempt.next_attempt_at)
    .where(DeliveryAttempt.delivery_id == bindparam("of_delivery", type_=Uuid()))
    .order_by(DeliveryAttempt.id.desc())
    .limit(literal_int(MAX_ATTEMPTS_SHOWN))
)


def _list_conditions(used: _UsedFilters) -> list[ColumnElement[bool]]:
    conditions = [_OF_TENANT]
    if used.job_id:
        conditions.append(Delivery.job_id == bindparam("of_job_id", type_=BigInteger()))
    if used.track_id:
        wanted = bindparam("of_track_id", type_=Text())
        conditions += [
            Delivery.track_hash
            == func.hashtextextended(wanted, literal_int(0), type_=BigInteger()),
            # Different texts may have the same hash.
            exists().where(
                Job.id == Delivery.job_id, Job.track_id.op("#>>")(_EMPTY_PATH) == wanted
            ),
        ]
    if used.after:
        conditions.append(Delivery.job_id < bindparam("of_after", type_=BigInteger()))
    return conditions


@cache
def _end_statement(used: _UsedFilters) -> Select[Any]:
    """Return a statement that selects the lowest job id that a page may read.

    Its result is empty if the page may read all remaining rows.
    """
    return (
        select(Delivery.job_id)
        .where(*_list_conditions(used))
        .order_by(Delivery.job_id.desc())
        .offset(literal_int(MAX_ROWS_READ - 1))
        .limit(literal_int(1))
    )


@cache
def _list_statement(used: _UsedFilters, state: DeliveryState | None, size: int) -> Select[Any]:
    conditions = _list_conditions(used)
    conditions.append(Delivery.job_id >= bindparam("from_job", type_=BigInteger()))
    if state is not None:
        conditions.append(is_one_of(Delivery.state, {state}))
    return _select_shown(
        select(Delivery.id)
        .where(*conditions)
        .order_by(Delivery.job_id.desc())
        .limit(literal_int(size))
    )


def _select_shown(chosen: Select[UUID]) -> Select[Any]:
    """Return a statement that reads the displayed columns of the deliveries that `chosen` selects.

    The ids are selected first, so that jobs, origins and attempts are joined for those rows only.
    """
    of_page = chosen.subquery("chosen")
    last = (
        select(*_OUTCOME_COLUMNS)
        .where(DeliveryAttempt.delivery_id == of_page.c.id)
        .order_by(DeliveryAttempt.id.desc())
        .limit(literal_int(1))
        .lateral("last")
    )
    return (
        select(*_SHOWN_COLUMNS, *last.c)
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


_EMPTY_PATH: Final[ColumnElement[Any]] = literal_column("'{}'")
_PAUSED_UNTIL: Final = case(
    (TenantOrigin.open_until > func.now(), TenantOrigin.open_until), else_=null()
)
_SHOWN_COLUMNS: Final = (
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
_SHOWN_COUNT: Final = len(_SHOWN_COLUMNS)
_FIND: Final = _select_shown(
    select(Delivery.id).where(_OF_TENANT, Delivery.id == bindparam("of_delivery", type_=Uuid()))
)
