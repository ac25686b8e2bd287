"""Finding the tenant of a key and its limits, and recording the use, in one statement."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import ApiKey, Plan, Tenant
from common.postgres.repositories.tenants.authentication import KeyOwner, find_key_owner
from common.runtime.clock import utc_now
from tests.integration.repositories.support.query_plans import fill, plans
from tests.integration.repositories.support.tenant_rows import FAR_AHEAD, LONG_AGO, TenantRows

DIGEST = b"a" * 32


@pytest.fixture
async def key_id(alice: TenantRows) -> int:
    statement = insert(ApiKey).values(
        tenant_id=alice.tenant_id, name="laptop", digest=DIGEST, last_four="wxyz"
    )
    async with alice.database.statement() as connection:
        return int((await connection.execute(statement.returning(ApiKey.id))).scalar_one())


async def find_owner(alice: TenantRows, digest: bytes = DIGEST) -> KeyOwner | None:
    async with alice.database.direct() as connection:
        return await find_key_owner(connection, digest)


async def set_key(alice: TenantRows, **columns: object) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(update(ApiKey).values(**columns))


async def last_used(alice: TenantRows) -> object:
    return (await alice.read_rows(ApiKey))[0]["last_used_at"]


@pytest.mark.usefixtures("key_id")
async def test_the_limits_of_plan_and_tenant_are_returned(alice: TenantRows) -> None:
    assert await find_owner(alice) == KeyOwner(alice.tenant_id, {}, {}, None)
    async with alice.database.statement() as connection:
        await connection.execute(update(Plan).values(limits={"max_queued": 5}))
        await connection.execute(update(Tenant).values(limits={"models": ["a"]}))
    assert await find_owner(alice) == KeyOwner(
        alice.tenant_id, {"max_queued": 5}, {"models": ["a"]}, None
    )


@pytest.mark.usefixtures("key_id")
async def test_both_kinds_of_connection_return_the_same(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        assert await find_key_owner(connection, DIGEST) == await find_owner(alice)


@pytest.mark.usefixtures("key_id")
async def test_the_seconds_until_the_key_expires_are_returned(alice: TenantRows) -> None:
    await set_key(alice, expires_at=utc_now() + timedelta(hours=1))
    owner = await find_owner(alice)
    assert owner is not None
    assert owner.seconds_left == pytest.approx(3600, abs=60)
    await set_key(alice, expires_at=FAR_AHEAD)
    assert await find_owner(alice) is not None


@pytest.mark.usefixtures("key_id")
async def test_a_key_that_is_not_live_has_no_owner_and_no_use(alice: TenantRows) -> None:
    assert await find_owner(alice, b"b" * 32) is None
    await set_key(alice, expires_at=LONG_AGO)
    assert await find_owner(alice) is None
    await set_key(alice, expires_at=None, revoked_at=LONG_AGO)
    assert await find_owner(alice) is None
    await set_key(alice, revoked_at=None)
    async with alice.database.statement() as connection:
        await connection.execute(update(Tenant).values(disabled_at=LONG_AGO))
    assert await find_owner(alice) is None
    assert await last_used(alice) is None


@pytest.mark.usefixtures("key_id")
async def test_the_use_is_recorded_once_a_minute(alice: TenantRows) -> None:
    await find_owner(alice)
    recorded = await last_used(alice)
    assert recorded is not None
    await find_owner(alice)
    assert await last_used(alice) == recorded
    lately = utc_now() - timedelta(seconds=55)
    await set_key(alice, last_used_at=lately)
    await find_owner(alice)
    assert await last_used(alice) == lately
    await set_key(alice, last_used_at=utc_now() - timedelta(seconds=65))
    await find_owner(alice)
    assert await last_used(alice) > lately  # type: ignore[operator] # a time


async def test_a_locked_key_is_not_waited_for(alice: TenantRows, key_id: int) -> None:
    async with alice.database.transaction() as connection:
        await connection.execute(select(ApiKey.id).where(ApiKey.id == key_id).with_for_update())
        assert await find_owner(alice) is not None
    assert await last_used(alice) is None


async def test_the_digest_is_found_by_its_index(alice: TenantRows, database_url: str) -> None:
    await fill(alice)

    async def call(connection: AsyncConnection) -> object:
        return await find_key_owner(connection, DIGEST)

    async with alice.database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO api_keys (tenant_id, name, digest, last_four) "
            "SELECT id, 'k', sha256(CAST(n AS text)::bytea), '' "
            "FROM (SELECT min(id) AS id FROM tenants) AS one, generate_series(1, 5000) AS n"
        )
        await connection.exec_driver_sql("ANALYZE api_keys")
    database = alice.database
    for plan in await plans(database, database_url, call):
        assert "uq_api_keys_digest" in plan
        assert "Seq Scan on api_keys" not in plan
