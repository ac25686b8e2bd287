"""The product behind PgBouncer: it works in session mode, and refuses transaction mode."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from common.postgres.connect import SESSION
from common.postgres.database import GATEWAY_ROLE, Database
from common.postgres.errors import PostgresRejectedError, is_unavailable
from common.postgres.locks import Lock
from common.postgres.models import Job
from common.postgres.repositories.jobs.record import JobRecorded, record_job
from common.postgres.repositories.tenants.tenants import create_tenant
from common.settings import DatabaseSettings, StorageSettings
from tests.integration.api.gateways import make_settings, open_gateway
from tests.integration.postgres.pgbouncer import pgbouncer
from tests.integration.repositories.support.tenant_rows import TenantRows
from tests.support.requests import INPAINT_BODY
from worker.maintenance.leader import leader_lock

ALL_JOBS = select(Job.tenant_id)
JOBS_PER_TENANT = 5


@pytest.fixture(params=["session"])
async def session_url(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    async with pgbouncer(tmp_path, database_url, mode=request.param) as url:
        yield url


def open_database(url: str, *, role: str | None = None) -> Database:
    settings = DatabaseSettings(url=SecretStr(url), pool_size=3, connect_timeout_seconds=30)
    return Database(settings, application="test", role=role)


async def test_a_gateway_serves_in_session_mode(
    session_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    async with open_gateway(make_settings(session_url, redis_url, bucket)) as gateway:
        assert (await gateway.client.get("/readyz")).status_code == 200
        made = await gateway.post("inpaint", INPAINT_BODY)
        job = await gateway.claim()
        assert job.id == made["id"]
        await gateway.finish(job)
        assert (await gateway.post(f"fetch/{made['id']}"))["status"] == "success"


async def test_tenants_are_isolated_and_sessions_prepared_in_session_mode(
    database_url: str, session_url: str
) -> None:
    owner = open_database(database_url)
    async with owner.statement() as connection:
        names = ("alice", "bob")
        rows = [TenantRows(owner, await _create(connection, name)) for name in names]
    database = open_database(session_url, role=GATEWAY_ROLE)

    async def record(tenant: TenantRows) -> None:
        async with database.direct(tenant.tenant_id) as direct:
            assert isinstance(await record_job(direct, tenant.new_job()), JobRecorded)
            seen = (await direct.execute(ALL_JOBS, {})).all()
            assert {row[0] for row in seen} == {tenant.tenant_id}

    await asyncio.gather(*(record(tenant) for tenant in rows * JOBS_PER_TENANT))
    async with database.statement() as connection:
        for name, value in {**SESSION, "statement_timeout": "10s", "role": GATEWAY_ROLE}.items():
            assert (await connection.execute(text(f"SHOW {name}"))).scalar_one() == value
        assert (await connection.execute(ALL_JOBS)).all() == []
    await database.aclose()
    await owner.aclose()


async def _create(connection: Any, name: str) -> int:
    tenant_id = await create_tenant(connection, name)
    assert tenant_id is not None
    return tenant_id


async def test_one_process_is_elected_in_session_mode(session_url: str) -> None:
    first, second = open_database(session_url), open_database(session_url)
    async with leader_lock(first, Lock.SWEEPER) as leading:
        assert leading is not None
        async with leader_lock(second, Lock.SWEEPER) as following:
            assert following is None
    async with leader_lock(second, Lock.SWEEPER) as leading:
        assert leading is not None
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("size", [1, 20])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_other_modes_are_refused(
    database_url: str, tmp_path: Path, mode: str, size: int
) -> None:
    async with pgbouncer(tmp_path, database_url, mode=mode, size=size) as url:
        for role in (None, GATEWAY_ROLE):
            database = open_database(url, role=role)
            with pytest.raises(PostgresRejectedError, match="pool_mode = session") as refused:
                async with database.direct():
                    pass
            assert is_unavailable(refused.value)
            assert database.rejection == str(refused.value)
            await database.aclose()
    owner = await asyncpg.connect(database_url)
    # The pooler's server connections have kept no setting of the refused sessions.
    assert await owner.fetchval("SELECT count(*) FROM jobs") == 0
    await owner.close()
