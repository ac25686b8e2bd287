"""Sending again what a tenant asks for again; always as one tenant's."""

from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Select, Uuid, bindparam, case, func, select, update

from common.domain.delivery import ENDED_STATES, FAILED_STATES, DeliveryState
from common.postgres.models import Delivery
from common.postgres.repositories.columns import is_one_of, spelled
from common.postgres.statements import Executor

# Of one delivery. The column is a smallint: the claim that raised it too far would fail, and with
# it those of everybody else's deliveries taken by the same statement.
MOST_ATTEMPTS: Final = 1000
# One statement's at most: it holds up the lines they are in for as long as it takes.
BATCH: Final = 1000


async def redeliver(connection: Executor, tenant_id: int, delivery_id: UUID) -> bool:
    """Let a delivery be sent now: anew if it has ended, else ahead of its schedule.

    False if it is not this tenant's, is being sent, or has been tried too often.
    """
    values = {"of_tenant": tenant_id, "of_delivery": delivery_id}
    return (await connection.execute(_ONE, values)).first() is not None


async def redeliver_failed(
    connection: Executor, tenant_id: int, *, since: datetime, state: DeliveryState | None = None
) -> int:
    """Send again up to `BATCH` of those that failed since a time, the first first; give how many.

    `state` narrows it to those that ended so.
    """
    values = {"of_tenant": tenant_id, "failed_since": since}
    return int((await connection.execute(_failed(state), values)).scalar())


# The statements, put together once: that takes longer than running them.

_THEIRS: Final = Delivery.tenant_id == bindparam("of_tenant", type_=BigInteger())
_HAS_ENDED: Final = is_one_of(Delivery.state, ENDED_STATES)
# The attempt is left alone: it is the fence, and lets them stand in line as retries, behind fresh
# results. The schedule begins anew.
_ANEW: Final[dict[str, Any]] = {
    "state": DeliveryState.PENDING,
    "available_at": func.now(),
    "finished_at": None,
    "failures": 0,
}
_ONE: Final = (
    update(Delivery)
    .where(
        _THEIRS,
        Delivery.id == bindparam("of_delivery", type_=Uuid()),
        is_one_of(Delivery.state, ENDED_STATES | {DeliveryState.PENDING}),
        Delivery.attempt < spelled(MOST_ATTEMPTS),
    )
    .values(
        _ANEW
        | {
            "failures": case((_HAS_ENDED, spelled(0)), else_=Delivery.failures),
            # One that is due keeps its place.
            "available_at": case(
                (_HAS_ENDED, func.now()),
                else_=func.least(Delivery.available_at, func.now()),
            ),
        }
    )
    .returning(Delivery.id)
)


@cache
def _failed(state: DeliveryState | None) -> Select[Any]:
    failed = (
        select(Delivery.id)
        .where(
            _THEIRS,
            # Spelled as the index has it, also where only one of them is meant.
            is_one_of(Delivery.state, FAILED_STATES),
            *([] if state is None else [is_one_of(Delivery.state, {state})]),
            Delivery.finished_at >= bindparam("failed_since", type_=DateTime(timezone=True)),
            Delivery.attempt < spelled(MOST_ATTEMPTS),
        )
        .order_by(Delivery.finished_at)
        .limit(spelled(BATCH))
        .with_for_update(skip_locked=True)
        .cte("failed")
    )
    again = (
        update(Delivery)
        .where(Delivery.id == failed.c.id)
        .values(_ANEW)
        .returning(Delivery.id)
        .cte("again")
    )
    return select(func.count()).select_from(again)
