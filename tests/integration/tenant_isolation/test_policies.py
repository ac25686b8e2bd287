"""Row-level security policies show one tenant's rows, even if too many rights were granted."""

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
# Tables whose tenant is found by something else than `tenant_id`.
OF_TENANTS_INDIRECTLY = {"tenants", "delivery_attempts"}
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
async def gateway(
    owner: Connection, database_url: str, bob: TenantRows
) -> AsyncIterator[Connection]:
    """A connection of the gateway's role, set to bob, with all rights on all tables."""
    await owner.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {GATEWAY_ROLE}")
    connection = await asyncpg.connect(database_url, server_settings={"role": GATEWAY_ROLE})
    await connection.execute(SET_TENANT, str(bob.tenant_id))
    yield connection
    await connection.close()


async def test_every_table_has_row_level_security(owner: Connection) -> None:
    rows = await owner.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity")
    assert sorted(row[0] for row in rows) == TABLES


@pytest.mark.parametrize("table", OF_TENANTS)
async def test_only_one_tenants_rows_are_visible(
    owner: Connection, gateway: Connection, alice: TenantRows, bob: TenantRows, table: str
) -> None:
    assert await tenants_in(owner, table) == {alice.tenant_id, bob.tenant_id}
    assert await tenants_in(gateway, table) == {bob.tenant_id}
    for change in (
        f"UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = $1",  # noqa: S608
        f"DELETE FROM {table} WHERE tenant_id = $1",  # noqa: S608
    ):
        assert (await gateway.execute(change, alice.tenant_id)).endswith(" 0")


@pytest.mark.parametrize("table", OF_TENANTS)
@pytest.mark.parametrize("forge", [COPY_FOR, "UPDATE {table} SET tenant_id = $1"])
async def test_no_row_can_be_written_for_another_tenant(
    gateway: Connection, alice: TenantRows, table: str, forge: str
) -> None:
    with pytest.raises(InsufficientPrivilegeError, match="row-level security"):
        await gateway.execute(forge.format(table=table), alice.tenant_id)


async def test_rows_with_a_derived_tenant_are_isolated_too(
    owner: Connection, gateway: Connection, bob: TenantRows
) -> None:
    assert [row[0] for row in await gateway.fetch("SELECT id FROM tenants")] == [bob.tenant_id]
    assert await count(owner, "delivery_attempts") == 2
    assert await count(gateway, "delivery_attempts") == 1


@pytest.mark.parametrize("tenant", ["", "0", "999999"])
async def test_a_connection_without_tenant_sees_nothing(gateway: Connection, tenant: str) -> None:
    await gateway.execute(SET_TENANT, tenant)
    assert [await count(gateway, table) for table in TABLES] == [0] * len(TABLES)


async def test_a_connection_whose_tenant_was_never_set_sees_nothing(gateway: Connection) -> None:
    await gateway.execute("RESET infill.tenant_id")
    assert [await count(gateway, table) for table in TABLES] == [0] * len(TABLES)


async def test_rows_without_a_tenant_are_not_visible(
    owner: Connection, gateway: Connection
) -> None:
    await owner.execute("INSERT INTO workers (name, queues) VALUES ('w', '{}')")
    for table in set(TABLES) - set(OF_TENANTS) - OF_TENANTS_INDIRECTLY:
        assert await count(gateway, table) == 0
    assert await count(owner, "workers") == await count(owner, "plans") == 1
