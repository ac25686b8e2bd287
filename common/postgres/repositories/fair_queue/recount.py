"""Deriving the books of fair claiming anew from the jobs, beside those who keep them.

Everything here is read at one moment. An update that had to wait for somebody looks at its row
anew, finds another version of it (`xmin`) than was read, and passes it over: what changed it has
counted for itself.
"""

from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Subquery,
    Update,
    and_,
    exists,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.columns import is_one_of
from common.postgres.repositories.fair_queue.shares import LIFTED, is_ready


async def recount_running(connection: AsyncConnection) -> int:
    """Set the counters of running jobs to what the rows say; give how many were wrong."""
    wrong_queues = (await connection.execute(_RECOUNT_QUEUES)).rowcount
    return wrong_queues + (await connection.execute(_RECOUNT_SHARES)).rowcount


async def mark_ready_tenants(connection: AsyncConnection) -> int:
    """Note which tenants have work after all; give how many.

    Jobs that wait for another attempt come into their time unheard, and a submit may cross a
    claim that found nothing more.
    """
    return (await connection.execute(_WAKE)).rowcount


async def recount_backlogs(connection: AsyncConnection) -> None:
    """Set each tenant's `backlog` to the work that waits; reads every waiting job's index entry."""
    await connection.execute(_RECOUNT_BACKLOGS)


# The statements, put together once: that takes longer than running them.


def _of_jobs(state: JobState, amount: ColumnElement[Any]) -> Subquery:
    return (
        select(Job.tenant_id, Job.queue, amount.label("amount"))
        .where(is_one_of(Job.state, {state}))
        .group_by(Job.tenant_id, Job.queue)
        .subquery(state.value)
    )


def _wrong_queues(column: Any, jobs: Subquery, none: ColumnElement[Any]) -> CTE:
    amount = func.coalesce(jobs.c.amount, none)
    same = and_(jobs.c.tenant_id == TenantQueue.tenant_id, jobs.c.queue == TenantQueue.queue)
    return (
        select(
            TenantQueue.tenant_id,
            TenantQueue.queue,
            _version(TenantQueue).label("version"),
            amount.label("amount"),
        )
        .outerjoin(jobs, same)
        .where(column != amount)
        .cte("wrong")
    )


def _version(table: type[TenantQueue | TenantShare]) -> ColumnElement[Any]:
    return literal_column(f"{table.__tablename__}.xmin")


def _corrected(column: str, wrong: CTE) -> Update:
    return (
        update(TenantQueue)
        .where(
            TenantQueue.tenant_id == wrong.c.tenant_id,
            TenantQueue.queue == wrong.c.queue,
            _version(TenantQueue) == wrong.c.version,
        )
        .values({column: wrong.c.amount})
    )


_RECOUNT_QUEUES: Final = _corrected(
    "running",
    _wrong_queues(
        TenantQueue.running, _of_jobs(JobState.RUNNING, func.count()), literal_column("0")
    ),
)
_RECOUNT_BACKLOGS: Final = _corrected(
    "backlog",
    _wrong_queues(
        TenantQueue.backlog,
        _of_jobs(JobState.QUEUED, func.sum(Job.cost)),
        literal_column("0", Double()),
    ),
)

_OF_TENANT: Final = (
    select(TenantQueue.tenant_id, func.sum(TenantQueue.running).label("amount"))
    .group_by(TenantQueue.tenant_id)
    .subquery("of_tenant")
)
_OF_ALL_QUEUES: Final = func.coalesce(_OF_TENANT.c.amount, literal_column("0"))
_WRONG_SHARES: Final = (
    select(
        TenantShare.tenant_id,
        _version(TenantShare).label("version"),
        _OF_ALL_QUEUES.label("amount"),
    )
    .outerjoin(_OF_TENANT, _OF_TENANT.c.tenant_id == TenantShare.tenant_id)
    .where(TenantShare.running != _OF_ALL_QUEUES)
    .cte("wrong")
)
_RECOUNT_SHARES: Final = (
    update(TenantShare)
    .where(
        TenantShare.tenant_id == _WRONG_SHARES.c.tenant_id,
        _version(TenantShare) == _WRONG_SHARES.c.version,
    )
    .values(running=_WRONG_SHARES.c.amount)
)

_WAKE: Final = (
    update(TenantQueue)
    .where(
        ~TenantQueue.has_ready,
        exists().where(*is_ready(TenantQueue.tenant_id, TenantQueue.queue)),
    )
    .values(
        has_ready=True,
        virtual_time=LIFTED,
    )
)
