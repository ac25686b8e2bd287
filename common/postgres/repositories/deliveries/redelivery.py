"""Redelivery: send deliveries again at the request of their tenant."""

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

# Attempts after which a delivery cannot be redelivered. The column is a smallint: a claim that
# raised it beyond that would fail, for all deliveries of the same statement.
MAX_ATTEMPTS: Final = 1000
# Deliveries of one statement: while it runs, dispatchers cannot claim from their origins.
MAX_REDELIVERIES: Final = 1000


async def redeliver(connection: Executor, tenant_id: int, delivery_id: UUID) -> bool:
    """Make a delivery due now if it has ended or is pending; return True if it was made due.

    Return False if the tenant has no such delivery, or if the delivery is being sent or has had
    `MAX_ATTEMPTS` attempts.
    """
    values = {"of_tenant": tenant_id, "of_delivery": delivery_id}
    return (await connection.execute(_REDELIVER, values)).first() is not None


async def redeliver_failed(
    connection: Executor, tenant_id: int, *, since: datetime, state: DeliveryState | None = None
) -> int:
    """Make up to `MAX_REDELIVERIES` failed deliveries due again; return their number.

    Deliveries that failed at or after `since` are selected, earliest first. `state` selects only
    exhausted or only discarded deliveries; None selects both.
    """
    states = sorted(FAILED_STATES if state is None else {state})
    values = {"of_tenant": tenant_id, "failed_since": since, "of_states": states}
    return int(
        (await connection.execute(_redeliver_failed_statement(MAX_REDELIVERIES), values)).scalar()
    )


# Statements are composed once, because composing them takes longer than running them.

_HAS_ENDED: Final = is_one_of(Delivery.state, ENDED_STATES)
# The attempt number stays, as in redeliver_failed.sql.
_REDELIVER: Final = (
    update(Delivery)
    .where(
        Delivery.tenant_id == bindparam("of_tenant", type_=BigInteger()),
        Delivery.id == bindparam("of_delivery", type_=Uuid()),
        is_one_of(Delivery.state, ENDED_STATES | {DeliveryState.PENDING}),
        Delivery.attempt < literal_int(MAX_ATTEMPTS),
    )
    .values(
        state=DeliveryState.PENDING,
        finished_at=None,
        failures=case((_HAS_ENDED, literal_int(0)), else_=Delivery.failures),
        # A delivery that is due already keeps its due time, and so its place in the order.
        available_at=case(
            (_HAS_ENDED, func.now()), else_=func.least(Delivery.available_at, func.now())
        ),
    )
    .returning(Delivery.id)
)


@cache
def _redeliver_failed_statement(limit: int) -> Executable:
    return load_sql(
        __package__,
        "redeliver_failed.sql",
        columns=(column("number", BigInteger()),),
        integers={"limit": limit, "max_attempts": MAX_ATTEMPTS},
    )
