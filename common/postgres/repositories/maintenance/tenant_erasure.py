"""Erase a tenant: drain its jobs, delete its rows in batches, then delete the tenant.

Every function can be repeated, so that the next round continues if a process dies.
"""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Update,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import FINAL_STATES, JobState
from common.postgres.expressions import from_now, is_one_of, literal_int
from common.postgres.models import Job, Tenant, UsageEntry


async def find_tenants_to_erase(connection: AsyncConnection, *, seconds: float) -> list[int]:
    """Return the ids of tenants marked for deletion at least `seconds` ago, earliest first."""
    statement = (
        select(Tenant.id)
        .where(Tenant.deleting_at <= from_now(-seconds))
        .order_by(Tenant.deleting_at, Tenant.id)
    )
    return list((await connection.execute(statement)).scalars())


async def cancel_queued(connection: AsyncConnection, tenant_id: int, *, limit: int) -> int:
    """Cancel up to `limit` queued jobs of a tenant, without webhooks; return how many."""
    return (await connection.execute(_cancel_statement(limit), {"of_tenant": tenant_id})).rowcount


async def is_drained(connection: AsyncConnection, tenant_id: int) -> bool:
    """Return whether all jobs of a tenant have ended."""
    found = await connection.execute(_UNFINISHED, {"of_tenant": tenant_id})
    return not any(found.one())


async def delete_ended_jobs(connection: AsyncConnection, tenant_id: int, *, limit: int) -> int:
    """Delete up to `limit` ended jobs of a tenant; return how many.

    Their deliveries and attempts are deleted with them.
    """
    return (
        await connection.execute(_delete_jobs_statement(limit), {"of_tenant": tenant_id})
    ).rowcount


async def delete_usage(connection: AsyncConnection, tenant_id: int, *, limit: int) -> int:
    """Delete up to `limit` usage entries of a tenant; return how many.

    Entries not yet included in the daily totals have a mark, which is deleted with them.
    """
    return (
        await connection.execute(_delete_usage_statement(limit), {"of_tenant": tenant_id})
    ).rowcount


async def delete_drained_tenant(connection: AsyncConnection, tenant_id: int) -> bool:
    """Delete a tenant and all rows that refer to it; return False while it has jobs.

    A job that is being recorded at the same time is deleted too, because its insert locks the
    tenant's row and the deletion waits for that lock.
    """
    return (await connection.execute(_DELETE_TENANT, {"of_tenant": tenant_id})).rowcount == 1


# Statements are composed once, because composing them takes longer than running them.

_OF_TENANT: Final = bindparam("of_tenant", type_=BigInteger())
_IS_QUEUED: Final = is_one_of(Job.state, {JobState.QUEUED})
# In the order of an index of unfinished jobs: otherwise all jobs of the tenant would be read.
_QUEUED_JOBS: Final = (
    select(Job.id)
    .where(Job.tenant_id == _OF_TENANT, _IS_QUEUED)
    .order_by(Job.queue, Job.priority.desc(), Job.id)
)
_RUNNING_JOBS: Final = (
    select(Job.id)
    .where(Job.tenant_id == _OF_TENANT, is_one_of(Job.state, {JobState.RUNNING}))
    .order_by(Job.lease_expires_at)
)
_UNFINISHED: Final = select(
    *(jobs.limit(literal_int(1)).scalar_subquery() for jobs in (_QUEUED_JOBS, _RUNNING_JOBS))
)
_DELETE_TENANT: Final = delete(Tenant).where(
    Tenant.id == _OF_TENANT,
    Tenant.deleting_at.is_not(None),
    ~exists().where(Job.tenant_id == Tenant.id),
)


@cache
def _cancel_statement(limit: int) -> Update:
    waiting = (
        _QUEUED_JOBS.limit(literal_int(limit)).with_for_update(skip_locked=True).cte("waiting")
    )
    return (
        update(Job)
        .where(Job.id == waiting.c.id)
        .values(
            state=JobState.CANCELED,
            finished_at=func.now(),
            error_code="canceled",
            error_message="the job was canceled because its tenant is being deleted",
        )
    )


@cache
def _delete_jobs_statement(limit: int) -> Delete:
    ended = _select_some(
        Job.id, limit, Job.tenant_id == _OF_TENANT, is_one_of(Job.state, FINAL_STATES)
    )
    return delete(Job).where(Job.id == ended.c.id)


@cache
def _delete_usage_statement(limit: int) -> Delete:
    entries = _select_some(UsageEntry.job_id, limit, UsageEntry.tenant_id == _OF_TENANT)
    return delete(UsageEntry).where(UsageEntry.job_id == entries.c.job_id)


def _select_some(column: Any, limit: int, *conditions: ColumnElement[bool]) -> Any:
    return select(column).where(*conditions).limit(literal_int(limit)).cte("some")
