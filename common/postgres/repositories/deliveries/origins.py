"""The books of sending: which lines have something to be sent, and whose turn it is.

A claim locks turns, then lines, then deliveries, and waits for none of them: what others hold it
passes over. All others wait: first for deliveries, then lines, then turns, each in the order of
their keys. So nobody waits in a circle. What has become pending is noted by the database's triggers
(`migrations/baseline/delivery_triggers.sql`), whoever has written it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Executable,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from common.domain.delivery import DeliveryState
from common.postgres.models import Delivery, TenantDispatch, TenantOrigin
from common.postgres.repositories.columns import is_one_of, spelled
from common.postgres.statements import Executor

NEVER: Final[ColumnElement[Any]] = literal_column(
    "'infinity'::timestamptz", DateTime(timezone=True)
)
LONG_AGO: Final[ColumnElement[Any]] = literal_column(
    "'-infinity'::timestamptz", DateTime(timezone=True)
)

OriginKey = tuple[int, str]  # tenant and origin


@dataclass(frozen=True, slots=True)
class AttemptKind:
    """First attempts, or retries: each has its column in a line and its index of deliveries."""

    retries: bool

    @property
    def turns(self) -> ColumnElement[bool]:
        """Choose the turns with these."""
        return TenantDispatch.retries.is_(true() if self.retries else false())

    @property
    def waiting(self) -> tuple[ColumnElement[bool], ...]:
        """Choose the deliveries of this kind that wait, whether or not their time has come."""
        zero = spelled(0)
        never_tried = Delivery.attempt > zero if self.retries else Delivery.attempt == zero
        return (is_one_of(Delivery.state, {DeliveryState.PENDING}), never_tried)

    @property
    def due_column(self) -> Any:
        """The line's column that says when the first of them is due."""
        return TenantOrigin.retry_due_at if self.retries else TenantOrigin.first_due_at

    @property
    def due_at(self) -> ColumnElement[Any]:
        """When the line may send the first of them."""
        return func.greatest(self.due_column, TenantOrigin.held_until)

    def earliest(self, after: Subquery | None = None) -> ColumnElement[Any]:
        """Give when the first of a line's deliveries is due, infinity where there are none.

        Of those that come after the first `after.c.found`, which are just being taken.
        """
        others = () if after is None else (after,)
        found = (
            select(Delivery.available_at)
            .where(
                Delivery.tenant_id == TenantOrigin.tenant_id,
                Delivery.origin == TenantOrigin.origin,
                *self.waiting,
            )
            .order_by(Delivery.available_at)
            .offset(None if after is None else after.c.found)
            .limit(spelled(1))
            .correlate(TenantOrigin, *others)
            .scalar_subquery()
        )
        return func.coalesce(found, NEVER)


FIRSTS: Final = AttemptKind(retries=False)
RETRIES: Final = AttemptKind(retries=True)


async def mark_due_dispatches(connection: Executor) -> int:
    """Note which tenants' time has come; give how many."""
    return len((await connection.execute(_WAKE, {})).all())


async def recheck_origins(connection: Executor, lines: Iterable[OriginKey]) -> bool:
    """Look anew at lines that were seen to have nothing more, for what had not been committed then.

    Says whether anything was found.
    """
    pairs = list(lines)
    tenants, origins = [tenant for tenant, _ in pairs], [origin for _, origin in pairs]
    values = {"of_tenants": tenants, "of_origins": origins}
    await connection.execute(_LOOK_AGAIN, values)
    return bool((await connection.execute(_NOTE_TURNS, {"of_tenants": tenants})).all())


async def refresh_due(connection: Executor) -> int:
    """Derive anew which lines and tenants have something due; give how many tenants had it unheard.

    For lines that others write to this does not wait.
    """
    await connection.execute(_NOTE_LINES, {})
    return len((await connection.execute(_NOTE_ALL_TURNS, {})).all())


# The statements, put together once: that takes longer than running them.


def _unheard(*conditions: ColumnElement[bool]) -> Executable:
    """Note in lines when the first of their deliveries is due, where it is earlier than known."""
    derived = (
        select(
            TenantOrigin.tenant_id,
            TenantOrigin.origin,
            FIRSTS.earliest().label("first_due_at"),
            RETRIES.earliest().label("retry_due_at"),
        )
        .where(*conditions)
        .subquery("derived")
    )
    same = and_(
        derived.c.tenant_id == TenantOrigin.tenant_id, derived.c.origin == TenantOrigin.origin
    )
    late = or_(
        derived.c.first_due_at < TenantOrigin.first_due_at,
        derived.c.retry_due_at < TenantOrigin.retry_due_at,
    )
    unheard = (
        select(*derived.c)
        .join(TenantOrigin, same)
        .where(late)
        .with_for_update(skip_locked=True, of=TenantOrigin)
        .cte("unheard")
    )
    return (
        update(TenantOrigin)
        .where(
            TenantOrigin.tenant_id == unheard.c.tenant_id, TenantOrigin.origin == unheard.c.origin
        )
        .values(
            first_due_at=func.least(TenantOrigin.first_due_at, unheard.c.first_due_at),
            retry_due_at=func.least(TenantOrigin.retry_due_at, unheard.c.retry_due_at),
        )
        .returning(TenantOrigin.tenant_id)
    )


def _note_turns(*conditions: ColumnElement[bool]) -> Executable:
    """Note with the tenants of lines that they have something due, or when they will."""
    times = union_all(
        *(
            select(
                TenantOrigin.tenant_id,
                (true() if kind.retries else false()).label("retries"),
                func.min(kind.due_at).label("due_at"),
            )
            .where(kind.due_at < NEVER, *conditions)
            .group_by(TenantOrigin.tenant_id)
            for kind in (FIRSTS, RETRIES)
        )
    ).subquery("times")
    known = (
        select(TenantDispatch.tenant_id)
        .where(
            TenantDispatch.tenant_id == times.c.tenant_id,
            TenantDispatch.retries == times.c.retries,
            or_(
                TenantDispatch.has_due,
                and_(TenantDispatch.due_at <= times.c.due_at, times.c.due_at > func.now()),
            ),
        )
        .exists()
    )
    noted = insert(TenantDispatch).from_select(
        ["tenant_id", "retries", "has_due", "due_at"],
        select(times.c.tenant_id, times.c.retries, times.c.due_at <= func.now(), times.c.due_at)
        .where(~known)
        .order_by(times.c.tenant_id, times.c.retries),
    )
    return noted.on_conflict_do_update(
        index_elements=[TenantDispatch.tenant_id, TenantDispatch.retries],
        set_={
            "has_due": TenantDispatch.has_due | noted.excluded.has_due,
            "due_at": func.least(TenantDispatch.due_at, noted.excluded.due_at),
        },
    ).returning(TenantDispatch.tenant_id)


def _pairs() -> Select[Any]:
    tenants = bindparam("of_tenants", type_=ARRAY(BigInteger))
    origins = bindparam("of_origins", type_=ARRAY(Text))
    pairs = func.unnest(tenants, origins).table_valued("tenant_id", "origin").render_derived()
    return select(pairs.c.tenant_id, pairs.c.origin)


def _come() -> CTE:
    return (
        select(TenantDispatch.tenant_id, TenantDispatch.retries)
        .where(~TenantDispatch.has_due, TenantDispatch.due_at <= func.now())
        .with_for_update(skip_locked=True)
        .cte("come")
    )


_COME: Final = _come()
_WAKE: Final = (
    update(TenantDispatch)
    .where(TenantDispatch.tenant_id == _COME.c.tenant_id, TenantDispatch.retries == _COME.c.retries)
    .values(has_due=True)
    .returning(TenantDispatch.tenant_id)
)
_LOOK_AGAIN: Final = _unheard(tuple_(TenantOrigin.tenant_id, TenantOrigin.origin).in_(_pairs()))
_NOTE_TURNS: Final = _note_turns(
    TenantOrigin.tenant_id == func.any(bindparam("of_tenants", type_=ARRAY(BigInteger)))
)
_NOTE_LINES: Final = _unheard()
_NOTE_ALL_TURNS: Final = _note_turns()
