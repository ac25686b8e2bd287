"""The rights of the gateway's role, and that it cannot get more."""

import re
from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest
from asyncpg.exceptions import InsufficientPrivilegeError
from pydantic import SecretStr

from common.postgres.database import GATEWAY_ROLE, Database
from common.postgres.errors import is_unavailable
from common.postgres.models import Table
from common.settings import DatabaseSettings
from tests.integration.repositories.support.tenant_rows import TenantRows

Connection: TypeAlias = "asyncpg.Connection[Any]"

TABLES = sorted(table.name for table in Table.metadata.sorted_tables)
READ = {
    "daily_usage",
    "delivery_attempts",
    "tenant_origins",
    "jobs",
    "tenant_queues",
    "tenant_shares",
    "unfolded_usage",
    "usage_entries",
}


@pytest.fixture
async def gateway(database_url: str, bob: TenantRows) -> AsyncIterator[Connection]:
    """A connection of the gateway's role, set to bob."""
    connection = await asyncpg.connect(database_url, server_settings={"role": GATEWAY_ROLE})
    await connection.execute("SELECT set_config('infill.tenant_id', $1, false)", str(bob.tenant_id))
    yield connection
    await connection.close()


@pytest.fixture
async def hardened_url(database_url: str) -> AsyncIterator[str]:
    """The URL of an account that has the role's rights and no others."""
    owner = await asyncpg.connect(database_url)
    name = f"web_{uuid4().hex}"
    await owner.execute(f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD 'web'")
    await owner.execute(f"GRANT {GATEWAY_ROLE} TO {name}")
    yield re.sub(r"//[^@]*@", f"//{name}:web@", database_url)
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()


async def test_the_role_has_no_special_rights(gateway: Connection) -> None:
    row = await gateway.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin "
        "FROM pg_roles WHERE rolname = current_user"
    )
    assert row is not None
    assert list(row.values()) == [False] * 6
    assert await gateway.fetchval("SELECT current_user") == GATEWAY_ROLE


async def test_it_owns_nothing_and_has_no_memberships(gateway: Connection) -> None:
    for query in (
        "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole",
        "SELECT count(*) FROM pg_proc WHERE proowner = current_user::regrole",
        "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole",
    ):
        assert await gateway.fetchval(query) == 0
    assert not await gateway.fetchval(
        "SELECT has_schema_privilege(current_user, 'public', 'CREATE')"
    )


async def test_it_reads_whole_tables_only_where_requests_need_them(gateway: Connection) -> None:
    readable = {
        table
        for table in TABLES
        if await gateway.fetchval("SELECT has_table_privilege($1, 'SELECT')", table)
    }
    assert readable == READ
    for table in set(TABLES) - READ - {"deliveries", "webhook_secrets"}:
        assert not await gateway.fetchval("SELECT has_any_column_privilege($1, 'SELECT')", table)


@pytest.mark.parametrize("right", ["UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"])
async def test_it_can_only_update_the_columns_requests_need(
    gateway: Connection, right: str
) -> None:
    for table in TABLES:
        assert not await gateway.fetchval("SELECT has_table_privilege($1, $2)", table, right)
    columns = await gateway.fetch(
        "SELECT table_name || '.' || column_name FROM information_schema.column_privileges "
        "WHERE grantee = current_user AND privilege_type = 'UPDATE' ORDER BY 1"
    )
    assert [row[0] for row in columns] == [
        "deliveries.available_at",
        "deliveries.failures",
        "deliveries.finished_at",
        "deliveries.state",
        "tenant_queues.has_ready",
        "tenant_queues.virtual_time",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT digest FROM api_keys",
        "SELECT created_at FROM webhook_secrets",
        "UPDATE webhook_secrets SET expires_at = now()",
        "SELECT digest FROM admin_keys",
        "SELECT details FROM audit_entries",
        "SELECT name FROM tenants",
        "SELECT limits FROM plans",
        "SELECT claimed_by FROM deliveries",
        "UPDATE deliveries SET url = 'https://elsewhere.example.com'",
        "UPDATE deliveries SET attempt = 0",
        "INSERT INTO deliveries (job_id) VALUES (1)",
        "UPDATE delivery_attempts SET answer = ''",
        "DELETE FROM delivery_attempts",
        "SELECT due_at FROM tenant_dispatches",
        "UPDATE tenant_origins SET open_until = now()",
        "SELECT rolpassword FROM pg_authid",
        "UPDATE tenant_shares SET weight = 1000",
        "UPDATE tenant_queues SET running = 0",
        "UPDATE jobs SET priority = 9",
        "UPDATE jobs SET state = 'canceled'",
        "DELETE FROM jobs",
        "DELETE FROM usage_entries",
        "INSERT INTO usage_entries (job_id) VALUES (1)",
        "INSERT INTO jobs (state) VALUES ('succeeded')",
        "INSERT INTO jobs (id) VALUES (1)",
        "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON jobs",
        "ALTER ROLE infill_gateway BYPASSRLS",
        "CREATE TABLE mine ()",
        "CREATE FUNCTION infill_ended_jobs(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
async def test_forbidden_statements_are_rejected(gateway: Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilegeError):
        await gateway.execute(statement)


async def test_a_separate_account_cannot_leave_the_role(
    hardened_url: str, alice: TenantRows, bob: TenantRows
) -> None:
    """If the account that logs in owned the tables, SET ROLE NONE would give it their rights."""
    connection = await asyncpg.connect(hardened_url, server_settings={"role": GATEWAY_ROLE})
    assert await connection.fetchval("SELECT current_user") == GATEWAY_ROLE
    await connection.execute("SET ROLE NONE")
    with pytest.raises(InsufficientPrivilegeError):
        await connection.fetch("SELECT * FROM jobs")
    for role in ("infill", "postgres", "pg_read_all_data"):
        with pytest.raises((InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
            await connection.execute(f"SET ROLE {role}")
    await connection.close()
    assert alice.tenant_id != bob.tenant_id


async def test_a_rejected_role_is_logged(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = DatabaseSettings(url=SecretStr(database_url))
    database = Database(settings, application="test", role="infill_nobody")
    with pytest.raises(ConnectionError) as rejected:
        async with database.direct():
            pass
    assert is_unavailable(rejected.value)
    assert "database_rejected" in capsys.readouterr().out
    await database.aclose()
