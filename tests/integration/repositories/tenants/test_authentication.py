"""Whose key it is, what they may use, and when the key was last used: one statement."""

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


async def look_up(alice: TenantRows, digest: bytes = DIGEST) -> KeyOwner | None:
    async with alice.database.direct() as connection:
        return await find_key_owner(connection, digest)


async def set_key(alice: TenantRows, **columns: object) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(update(ApiKey).values(**columns))


async def last_used(alice: TenantRows) -> object:
    return (await alice.read_rows(ApiKey))[0]["last_used_at"]


@pytest.mark.usefixtures("key_id")
async def test_an_owner_comes_with_the_limits_of_plan_and_tenant(alice: TenantRows) -> None:
    assert await look_up(alice) == KeyOwner(alice.tenant_id, {}, {}, None)
    async with alice.database.statement() as connection:
        await connection.execute(update(Plan).values(limits={"max_queued": 5}))
        await connection.execute(update(Tenant).values(limits={"models": ["a"]}))
    assert await look_up(alice) == KeyOwner(
        alice.tenant_id, {"max_queued": 5}, {"models": ["a"]}, None
    )


@pytest.mark.usefixtures("key_id")
async def test_it_reads_the_same_over_either_connection(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        assert await find_key_owner(connection, DIGEST) == await look_up(alice)


@pytest.mark.usefixtures("key_id")
async def test_a_key_knows_how_long_it_has_to_live(alice: TenantRows) -> None:
    await set_key(alice, expires_at=utc_now() + timedelta(hours=1))
    owner = await look_up(alice)
    assert owner is not None
    assert owner.seconds_left == pytest.approx(3600, abs=60)
    await set_key(alice, expires_at=FAR_AHEAD)
    assert await look_up(alice) is not None


@pytest.mark.usefixtures("key_id")
async def test_no_other_key_has_an_owner_and_none_of_them_is_noted(alice: TenantRows) -> None:
    assert await look_up(alice, b"b" * 32) is None
    await set_key(alice, expires_at=LONG_AGO)
    assert await look_up(alice) is None
    await set_key(alice, expires_at=None, revoked_at=LONG_AGO)
    assert await look_up(alice) is None
    await set_key(alice, revoked_at=None)
    async with alice.database.statement() as connection:
        await connection.execute(update(Tenant).values(disabled_at=LONG_AGO))
    assert await look_up(alice) is None
    assert await last_used(alice) is None


@pytest.mark.usefixtures("key_id")
async def test_its_use_is_noted_once_a_minute(alice: TenantRows) -> None:
    await look_up(alice)
    noted = await last_used(alice)
    assert noted is not None
    await look_up(alice)
    assert await last_used(alice) == noted
    lately = utc_now() - timedelta(seconds=55)
    await set_key(alice, last_used_at=lately)
    await look_up(alice)
    assert await last_used(alice) == lately
    await set_key(alice, last_used_at=utc_now() - timedelta(seconds=65))
    await look_up(alice)
    assert await last_used(alice) > lately  # type: ignore[operator] # a time


async def test_nobody_waits_for_a_key_somebody_holds(alice: TenantRows, key_id: int) -> None:
    async with alice.database.transaction() as connection:
        await connection.execute(select(ApiKey.id).where(ApiKey.id == key_id).with_for_update())
        assert await look_up(alice) is not None
    assert await last_used(alice) is None


async def test_the_digest_leads_to_it(alice: TenantRows, database_url: str) -> None:
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
