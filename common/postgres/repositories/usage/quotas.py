"""What a tenant has waiting and at work: what its quotas are held against."""

from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    bindparam,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.types import NULLTYPE

from common.domain.job import JobState
from common.postgres.expressions import is_one_of
from common.postgres.models import Job
from common.postgres.statements import Executor


class Unfinished(NamedTuple):
    """A tenant's jobs that have not ended: how many wait, and what all of them cost, in credits."""

    queued: int
    cost: float


async def count_unfinished(connection: Executor, tenant_id: int, *, most: int) -> Unfinished:
    """Count a tenant's unfinished jobs at one moment, at most `most` of the waiting ones.

    Both parts are read from indexes; of the running ones there are no more than workers hold.
    """
    given = {"of_tenant": tenant_id, "most": most}
    return Unfinished(*(await connection.execute(_UNFINISHED, given)).first())


async def is_repetition(connection: Executor, tenant_id: int, idempotency_key: str) -> bool:
    """Tell whether a job was recorded under this idempotency key."""
    given = {"of_tenant": tenant_id, "key": idempotency_key}
    return (await connection.execute(_RECORDED, given)).first() is not None


_OF_TENANT: Final = Job.tenant_id == bindparam("of_tenant", type_=BigInteger())
_NOTHING: Final[ColumnElement[float]] = literal_column("0", Double())
_WAITING: Final = (
    select(Job.cost)
    .where(_OF_TENANT, is_one_of(Job.state, {JobState.QUEUED}))
    # The order of their index. Without one, a plan for any tenant and any limit may walk through
    # everybody's waiting jobs in search of this one's.
    .order_by(Job.queue, Job.priority.desc(), Job.id)
    .limit(bindparam("most", type_=BigInteger()))
    .subquery()
)
_WAITING_COST: Final = func.coalesce(func.sum(_WAITING.c.cost), _NOTHING)
_RUNNING_COST: Final = (
    select(func.coalesce(func.sum(Job.cost), _NOTHING))
    .where(_OF_TENANT, is_one_of(Job.state, {JobState.RUNNING}))
    .scalar_subquery()
)
_UNFINISHED: Final = select(
    func.count().label("queued"),
    type_coerce(_WAITING_COST + _RUNNING_COST, NULLTYPE).label("cost"),
).select_from(_WAITING)
_RECORDED: Final = select(Job.id).where(
    _OF_TENANT, Job.idempotency_key == bindparam("key", type_=Job.idempotency_key.type)
)
