"""Redelivery: send a tenant's deliveries again because it asks."""

from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, Executable, Uuid, bindparam, case, column, func, update

from common.domain.delivery import ENDED_STATES, FAILED_STATES, DeliveryState
from common.postgres.expressions import is_one_of, literal_int
from common.postgres.models import Delivery
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

# Of one delivery. The column is a smallint: a claim that raised it too far would fail, and with it
# the claim of every other delivery in the same statement.
MOST_ATTEMPTS: Final = 1000
# Of one statement: while it runs, dispatchers cannot claim from the origins it touches.
BATCH: Final = 1000


async def redeliver(connection: Executor, tenant_id: int, delivery_id: UUID) -> bool:
    """Make a delivery due now: send it again if it has ended, else ahead of its retry schedule.

    Returns False if it is not this tenant's, is being sent, or has been tried too often.
    """
    values = {"of_tenant": tenant_id, "of_delivery": delivery_id}
    return (await connection.execute(_ONE, values)).first() is not None


async def redeliver_failed(
    connection: Executor, tenant_id: int, *, since: datetime, state: DeliveryState | None = None
) -> int:
    """Send again up to `BATCH` deliveries that failed since a time; return how many.

    Those that failed first come first. `state` chooses those that ended in it, None all failed.
    """
    states = sorted(FAILED_STATES if state is None else {state})
    values = {"of_tenant": tenant_id, "failed_since": since, "of_states": states}
    return int((await connection.execute(_redeliver_failed(BATCH), values)).scalar())


# The statements, put together once: that takes longer than running them.

_HAS_ENDED: Final = is_one_of(Delivery.state, ENDED_STATES)
# The attempt number stays, as in redeliver_failed.sql.
_ONE: Final = (
    update(Delivery)
    .where(
        Delivery.tenant_id == bindparam("of_tenant", type_=BigInteger()),
        Delivery.id == bindparam("of_delivery", type_=Uuid()),
        is_one_of(Delivery.state, ENDED_STATES | {DeliveryState.PENDING}),
        Delivery.attempt < literal_int(MOST_ATTEMPTS),
    )
    .values(
        state=DeliveryState.PENDING,
        finished_at=None,
        failures=case((_HAS_ENDED, literal_int(0)), else_=Delivery.failures),
        # One that is due keeps its place.
        available_at=case(
            (_HAS_ENDED, func.now()), else_=func.least(Delivery.available_at, func.now())
        ),
    )
    .returning(Delivery.id)
)


@cache
def _redeliver_failed(limit: int) -> Executable:
    return load_sql(
        __package__,
        "redeliver_failed.sql",
        columns=(column("number", BigInteger()),),
        integers={"limit": limit, "most_attempts": MOST_ATTEMPTS},
    )
