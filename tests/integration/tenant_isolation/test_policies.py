"""What the policies show, even where rights were given out by mistake: one tenant's rows."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest
from asyncpg.exceptions import InsufficientPrivilegeError

from common.postgres.database import GATEWAY_ROLE
from common.postgres.models import Table
from tests.integration.repositories.support.tenant_rows import TenantRows

Connection: TypeAlias = "asyncpg.Connection[Any]"

TABLES = sorted(table.name for table in Table.metadata.sorted_tables)
OF_TENANTS = sorted(
    table.name for table in Table.metadata.sorted_tables if "tenant_id" in table.columns
)
# Of these somebody's rows are told by something else than `tenant_id`.
OTHERWISE_OF_TENANTS = {"tenants", "delivery_attempts"}
SET_TENANT = "SELECT set_config('infill.tenant_id', $1, false)"
COPY_FOR = """
INSERT INTO {table} SELECT (jsonb_populate_record(
    NULL::{table}, to_jsonb(mine) || jsonb_build_object('tenant_id', $1::bigint))).*
FROM {table} AS mine LIMIT 1
"""


async def tenants_in(connection: Connection, table: str) -> set[int]:
    rows = await connection.fetch(f"SELECT DISTINCT tenant_id FROM {table}")  # noqa: S608
    return {row[0] for row in rows}


async def count(connection: Connection, table: str) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def looking(
    owner: Connection, database_url: str, bob: TenantRows
) -> AsyncIterator[Connection]:
    """A connection of the gateway's role that speaks for bob, may what the policies let it."""
    await owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {GATEWAY_ROLE}")
    connection = await asyncpg.connect(database_url, server_settings={"role": GATEWAY_ROLE})
    await connection.execute(SET_TENANT, str(bob.tenant_id))
    yield connection
    await connection.close()


async def test_no_table_is_without(owner: Connection) -> None:
    rows = await owner.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity")
    assert sorted(row[0] for row in rows) == TABLES


@pytest.mark.parametrize("table", OF_TENANTS)
async def test_one_tenants_rows_are_all_there_is(
    owner: Connection, looking: Connection, alice: TenantRows, bob: TenantRows, table: str
) -> None:
    assert await tenants_in(owner, table) == {alice.tenant_id, bob.tenant_id}
    assert await tenants_in(looking, table) == {bob.tenant_id}
    for change in (
        f"UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = $1",  # noqa: S608
        f"DELETE FROM {table} WHERE tenant_id = $1",  # noqa: S608
    ):
        assert (await looking.execute(change, alice.tenant_id)).endswith(" 0")


@pytest.mark.parametrize("table", OF_TENANTS)
@pytest.mark.parametrize("forge", [COPY_FOR, "UPDATE {table} SET tenant_id = $1"])
async def test_nothing_can_be_written_in_another_tenants_name(
    looking: Connection, alice: TenantRows, table: str, forge: str
) -> None:
    with pytest.raises(InsufficientPrivilegeError, match="row-level security"):
        await looking.execute(forge.format(table=table), alice.tenant_id)


async def test_rows_with_a_derived_tenant_are_isolated_too(
    owner: Connection, looking: Connection, bob: TenantRows
) -> None:
    assert [row[0] for row in await looking.fetch("SELECT id FROM tenants")] == [bob.tenant_id]
    assert await count(owner, "delivery_attempts") == 2
    assert await count(looking, "delivery_attempts") == 1


@pytest.mark.parametrize("tenant", ["", "0", "999999"])
async def test_a_connection_without_tenant_sees_nothing(looking: Connection, tenant: str) -> None:
    await looking.execute(SET_TENANT, tenant)
    assert [await count(looking, table) for table in TABLES] == [0] * len(TABLES)


async def test_who_never_spoke_sees_nothing_either(looking: Connection) -> None:
    await looking.execute("RESET infill.tenant_id")
    assert [await count(looking, table) for table in TABLES] == [0] * len(TABLES)


async def test_what_is_no_tenants_is_not_seen_at_all(
    owner: Connection, looking: Connection
) -> None:
    await owner.execute("INSERT INTO workers (name, queues) VALUES ('w', '{}')")
    for table in set(TABLES) - set(OF_TENANTS) - OTHERWISE_OF_TENANTS:
        assert await count(looking, table) == 0
    assert await count(owner, "workers") == await count(owner, "plans") == 1
