"""Direct access to rows, without the use cases, and jobs in states that workers produce."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.dialects import postgresql

from common.domain.job import JobState
from common.postgres.database import Database
from common.postgres.models import Job, Table, Tenant, TenantQueue, TenantShare

QUEUE = "standin"


async def rows(database: Database, table: type[Table]) -> list[RowMapping]:
    """Return all rows of a table."""
    async with database.statement() as connection:
        found = await connection.execute(select(table.__table__))
        return list(found.mappings())


async def tenant_id(database: Database, name: str) -> int:
    """Return a tenant's id."""
    async with database.statement() as connection:
        return (await connection.execute(select(Tenant.id).where(Tenant.name == name))).scalar_one()


@dataclass(frozen=True, slots=True)
class Share:
    """The weight and limits that claims apply to a tenant."""

    weight: float
    max_running: int | None
    max_running_per_queue: int | None
    closed: bool


async def share(database: Database, name: str) -> Share:
    """Return a tenant's share."""
    columns = (
        TenantShare.weight,
        TenantShare.max_running,
        TenantShare.max_running_per_queue,
        TenantShare.closed,
    )
    statement = select(*columns).join(Tenant, Tenant.id == TenantShare.tenant_id)
    async with database.statement() as connection:
        return Share(*(await connection.execute(statement.where(Tenant.name == name))).one())


async def set_queue_counters(
    database: Database, name: str, queue: str = QUEUE, **columns: float | bool
) -> None:
    """Set columns of a tenant's row of a queue."""
    row = {"tenant_id": await tenant_id(database, name), "queue": queue, **columns}
    statement = postgresql.insert(TenantQueue).values(**row)
    upsert = statement.on_conflict_do_update(
        index_elements=[TenantQueue.tenant_id, TenantQueue.queue], set_=row
    )
    async with database.statement() as connection:
        await connection.execute(upsert)


async def virtual_time(database: Database, name: str, queue: str = QUEUE) -> float:
    """Return a tenant's virtual time in a queue."""
    statement = (
        select(TenantQueue.virtual_time)
        .join(Tenant, Tenant.id == TenantQueue.tenant_id)
        .where(Tenant.name == name, TenantQueue.queue == queue)
    )
    async with database.statement() as connection:
        return float((await connection.execute(statement)).scalar_one())


async def add_job(
    database: Database, tenant: str, queue: str = QUEUE, state: JobState = JobState.QUEUED
) -> int:
    """Insert a job of a tenant, and update the tenant's counters accordingly."""
    owner = await tenant_id(database, tenant)
    new = insert(Job).values(
        tenant_id=owner,
        file_prefix=uuid4(),
        queue=queue,
        max_attempts=3,
        request={"prompt": "a tenant's prompt"},
        inputs={},
        base64=False,
        cost=1.5,
        webhook_url="https://hooks.example.com/secret-path",
    )
    async with database.statement() as connection:
        job_id: int = (await connection.execute(new.returning(Job.id))).scalar_one()
        if state is not JobState.QUEUED:
            await connection.execute(
                update(Job).where(Job.id == job_id).values(**_columns_of(state))
            )
        if state is JobState.RUNNING:
            one_more = update(TenantShare).values(running=TenantShare.running + 1)
            await connection.execute(one_more.where(TenantShare.tenant_id == owner))
    counted = {"running": 1} if state is JobState.RUNNING else {"has_ready": True}
    await set_queue_counters(database, tenant, queue, **counted)
    return job_id


def _columns_of(state: JobState) -> dict[str, Any]:
    now = postgresql.insert(Job).table.c.created_at
    match state:
        case JobState.RUNNING:
            return {"state": state, "lease_expires_at": now, "claimed_by": "w", "attempt": 1}
        case JobState.SUCCEEDED:
            return {"state": state, "finished_at": now, "result": {}}
        case _:
            return {"state": state, "finished_at": now}
