"""Deriving the lines' counters anew from the deliveries, and forgetting lines nobody needs.

Read at one moment, and written only to row versions that were read (`xmin`), as the books of
claiming are (`recounting`).
"""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Double,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import DeliveryState
from common.postgres.models import Delivery, TenantOrigin
from common.postgres.repositories.columns import from_now, is_one_of, spelled
from common.postgres.repositories.deliveries.circuit_breaker import held_until
from common.postgres.repositories.deliveries.origins import FIRSTS, NEVER, RETRIES

# Counting for a gauge stops here.
MOST_COUNTED: Final = 100_000


async def recount_sending(connection: AsyncConnection, *, per_origin: int) -> int:
    """Set what is under way to what the rows say; give how many lines were wrong.

    Also which lines are full: the limit may be another than it was.
    """
    return (await connection.execute(_RECOUNT, {"per_origin": per_origin})).rowcount


async def delete_idle_origins(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete lines that wait for nothing and have recorded nothing for `seconds`; give how many."""
    return (await connection.execute(_forgetting(limit), {"idle_seconds": -seconds})).rowcount


async def count_open_breakers(connection: AsyncConnection) -> int:
    """Give how many lines are held by their breaker, the half-open ones included."""
    return int((await connection.execute(_COUNT_OPEN)).scalar_one())


# The statements, put together once: that takes longer than running them.

_VERSION: Final[Any] = literal_column("tenant_origins.xmin")
_OF_ROWS: Final = (
    select(Delivery.tenant_id, Delivery.origin, func.count().label("number"))
    .where(is_one_of(Delivery.state, {DeliveryState.SENDING}))
    .group_by(Delivery.tenant_id, Delivery.origin)
    .subquery("of_rows")
)
_NUMBER: Final = func.coalesce(_OF_ROWS.c.number, spelled(0))
_SHOULD_BE_HELD: Final = held_until(_NUMBER, TenantOrigin.open_until.expression)
_WRONG: Final = (
    select(
        TenantOrigin.tenant_id,
        TenantOrigin.origin,
        _VERSION.label("version"),
        _NUMBER.label("number"),
        _SHOULD_BE_HELD.label("held_until"),
    )
    .outerjoin(
        _OF_ROWS,
        and_(
            _OF_ROWS.c.tenant_id == TenantOrigin.tenant_id,
            _OF_ROWS.c.origin == TenantOrigin.origin,
        ),
    )
    .where(or_(TenantOrigin.sending != _NUMBER, TenantOrigin.held_until != _SHOULD_BE_HELD))
    .cte("wrong")
)
_RECOUNT: Final = (
    update(TenantOrigin)
    .where(
        TenantOrigin.tenant_id == _WRONG.c.tenant_id,
        TenantOrigin.origin == _WRONG.c.origin,
        _WRONG.c.version == _VERSION,
    )
    .values(sending=_WRONG.c.number, held_until=_WRONG.c.held_until)
)
_COUNT_OPEN: Final = select(func.count()).select_from(
    select(TenantOrigin.tenant_id)
    .where(TenantOrigin.open_until > literal_column("'-infinity'"))
    .limit(spelled(MOST_COUNTED))
    .subquery("held")
)


@cache
def _forgetting(limit: int) -> Any:
    # What is due is read from the rows once more: nobody's delivery may be left without a line.
    idle = (
        select(TenantOrigin.tenant_id, TenantOrigin.origin)
        .where(
            TenantOrigin.sending == spelled(0),
            TenantOrigin.first_due_at == NEVER,
            TenantOrigin.retry_due_at == NEVER,
            TenantOrigin.counted_since < from_now(bindparam("idle_seconds", type_=Double())),
            FIRSTS.earliest() == NEVER,
            RETRIES.earliest() == NEVER,
        )
        .limit(spelled(limit))
        .with_for_update(skip_locked=True)
        .cte("idle")
    )
    return delete(TenantOrigin).where(
        TenantOrigin.tenant_id == idle.c.tenant_id, TenantOrigin.origin == idle.c.origin
    )
