"""Read a tenant's unfinished jobs, which count against its quotas."""

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


class UnfinishedJobs(NamedTuple):
    """A tenant's queued and running jobs, summed up.

    `queued` is the number of queued jobs; `cost` is the total cost of queued and running jobs in
    credits.
    """

    queued: int
    cost: float


async def count_unfinished(connection: Executor, tenant_id: int, *, limit: int) -> UnfinishedJobs:
    """Return the sums over a tenant's unfinished jobs, reading at most `limit` queued jobs.

    All running jobs are read, because their number is limited by the number of worker slots.
    """
    values = {"of_tenant": tenant_id, "limit": limit}
    return UnfinishedJobs(*(await connection.execute(_COUNT_UNFINISHED, values)).first())


async def is_idempotency_key_used(
    connection: Executor, tenant_id: int, idempotency_key: str
) -> bool:
    """Return whether the tenant has recorded a job under this idempotency key."""
    values = {"of_tenant": tenant_id, "key": idempotency_key}
    return (await connection.execute(_FIND_BY_KEY, values)).first() is not None


_OF_TENANT: Final = Job.tenant_id == bindparam("of_tenant", type_=BigInteger())
_ZERO: Final[ColumnElement[float]] = literal_column("0", Double())
_QUEUED: Final = (
    select(Job.cost)
    .where(_OF_TENANT, is_one_of(Job.state, {JobState.QUEUED}))
    # The order of an index: otherwise the planner may scan the queued jobs of all tenants.
    .order_by(Job.queue, Job.priority.desc(), Job.id)
    .limit(bindparam("limit", type_=BigInteger()))
    .subquery()
)
_QUEUED_COST: Final = func.coalesce(func.sum(_QUEUED.c.cost), _ZERO)
_RUNNING_COST: Final = (
    select(func.coalesce(func.sum(Job.cost), _ZERO))
    .where(_OF_TENANT, is_one_of(Job.state, {JobState.RUNNING}))
    .scalar_subquery()
)
_COUNT_UNFINISHED: Final = select(
    func.count().label("queued"),
    type_coerce(_QUEUED_COST + _RUNNING_COST, NULLTYPE).label("cost"),
).select_from(_QUEUED)
_FIND_BY_KEY: Final = select(Job.id).where(
    _OF_TENANT, Job.idempotency_key == bindparam("key", type_=Job.idempotency_key.type)
)
