"""Tenants that are being deleted, and the rows left of them."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from common.domain.delivery import DeliveryState
from common.domain.job import JobState
from common.domain.object_keys import MARKER_KEY
from common.postgres.database import Database
from common.postgres.models import AuditEntry, Installation, Job, Table, Tenant, TenantShare
from common.postgres.repositories.jobs.finish import succeed
from common.postgres.repositories.maintenance.retention import read_bucket_cursor
from common.postgres.repositories.tenants.api_keys import add_api_key
from common.postgres.repositories.tenants.tenants import add_webhook_secret
from common.postgres.repositories.usage.ledger import fold_usage
from tests.integration.maintenance.stored_objects import StoredJobs
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.maintenance.test_retention import log_attempts
from tests.integration.repositories.support.tenant_rows import LONG_AGO, RESULT, TenantRows
from worker.maintenance.retention import Retention

KEEP_FOREVER: dict[str, Any] = {
    f"{kind}_seconds": 0 for kind in ("object", "job", "delivery", "attempt", "orphan")
}
Rows = Mapping[str, list[Any]]

# Tables of the installation, and what is kept of erased tenants.
WITHOUT_TENANT_ROWS = {Installation.__tablename__, AuditEntry.__tablename__}


async def mark_for_deletion(tenant: TenantRows, *, seconds_ago: float = 60) -> None:
    """Mark the tenant as deleted `seconds_ago`, as the use case does."""
    moment = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds_ago)
    async with tenant.database.transaction() as connection:
        await connection.execute(
            update(Tenant)
            .where(Tenant.id == tenant.tenant_id)
            .values(disabled_at=moment, deleting_at=moment)
        )
        await connection.execute(
            update(TenantShare).where(TenantShare.tenant_id == tenant.tenant_id).values(closed=True)
        )


async def add_rows_to_every_table(tenant: TenantRows) -> None:
    """Add a row of the tenant to each table with tenants' rows; its jobs have ended."""
    for folded in (True, False):
        claim = await tenant.add_job(JobState.RUNNING)
        async with tenant.database.statement() as connection:
            assert await succeed(connection, claim, RESULT) is not None
            if folded:
                await fold_usage(connection, limit=100)
    sent = await tenant.add_delivery(DeliveryState.DELIVERED, finished_at=LONG_AGO)
    await log_attempts(tenant, sent.delivery_id, LONG_AGO)
    await tenant.add_job(JobState.FAILED, finished_at=LONG_AGO)
    tenant_id = tenant.tenant_id
    async with tenant.database.transaction() as connection:
        await add_webhook_secret(
            connection, tenant_id=tenant_id, secret="whsec_x", overlap_seconds=60
        )
        await add_api_key(
            connection, tenant_id=tenant_id, name="k", digest=str(tenant_id).encode(), last_four="x"
        )


async def everything(database: Database) -> Rows:
    """Return every row of every table, except tables without tenants' rows."""
    async with database.statement() as connection:
        return {
            table.name: sorted(map(repr, await connection.execute(select(table))))
            for table in Table.metadata.sorted_tables
            if table.name not in WITHOUT_TENANT_ROWS
        }


async def rows_of(tenant: TenantRows) -> dict[str, int]:
    """Count the tenant's rows in each table that has any, its own row included."""
    async with tenant.database.statement() as connection:
        found = {}
        for table in Table.metadata.sorted_tables:
            column = table.c.id if table.name == "tenants" else table.c.get("tenant_id")
            if column is not None:
                counting = select(func.count()).where(column == tenant.tenant_id)
                found[table.name] = (await connection.execute(counting)).scalar_one()
        return found


async def tenant_exists(tenant: TenantRows) -> bool:
    async with tenant.database.statement() as connection:
        query = text("SELECT count(*) FROM tenants WHERE id = :id")
        return bool((await connection.execute(query, {"id": tenant.tenant_id})).scalar())


async def states(tenant: TenantRows) -> list[str]:
    return [row["state"] for row in await tenant.read_rows(Job)]


@pytest.fixture
async def bob(database: Database) -> TenantRows:
    """A tenant that is not deleted."""
    return await make_tenant(database, "bob")


@pytest.fixture
def retention(stored_jobs: StoredJobs) -> Retention:
    """Retention that keeps everything, except of deleted tenants."""
    return stored_jobs.retention(**KEEP_FOREVER)


@pytest.fixture(autouse=True)
async def bucket_is_ours(stored_jobs: StoredJobs) -> None:
    """Write the bucket's marker, as an earlier round would have."""
    async with stored_jobs.database.statement() as connection:
        cursor = await read_bucket_cursor(connection)
    name = str(cursor.installation_id).encode()
    stored_jobs.s3.put_object(Bucket=stored_jobs.bucket, Key=MARKER_KEY, Body=name)
