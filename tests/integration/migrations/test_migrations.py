"""Migrations create the tables of the models, and a downgrade drops everything."""

import asyncio
import re
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection

from common.domain.delivery import DeliveryState
from common.domain.job import JobState
from common.postgres.database import Database
from common.postgres.models import Table
from common.settings import DatabaseSettings
from deploy.cli.migrate import downgrade, upgrade
from tests.conftest import Servers

OURS = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic_version%'
UNION ALL
SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
CONSTRAINTS = """
SELECT conname || ' ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
ORDER BY 1
"""
INDEXES = """
SELECT indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
"""
COLUMNS = """
SELECT concat_ws(' ', table_name, column_name, data_type, character_maximum_length, is_nullable,
    column_default, identity_generation)
FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1
"""
STORAGE = """
SELECT concat_ws(' ', relname, reloptions) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
ORDER BY 1
"""
LAYOUT = (CONSTRAINTS, INDEXES, COLUMNS, STORAGE)


@pytest.fixture
async def empty_database_url(servers: Servers) -> AsyncIterator[str]:
    name = f"empty_{uuid4().hex}"
    await servers.postgres.ensure_database(name)
    yield servers.postgres.url(name)
    admin = await asyncpg.connect(servers.postgres.url("postgres"))
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def fetch(url: str, query: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [str(row[0]) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, Table.metadata))


async def test_migrated_tables_match_the_models(database_url: str) -> None:
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    async with database.transaction() as connection:
        assert await connection.run_sync(differences) == []
    await database.aclose()


@pytest.mark.parametrize(("table", "states"), [("jobs", JobState), ("deliveries", DeliveryState)])
async def test_state_constraints_match_the_code(
    database_url: str, table: str, states: type[StrEnum]
) -> None:
    (definition,) = await fetch(
        database_url,
        f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_{table}_state'",  # noqa: S608 - a constant name
    )
    assert set(re.findall(r"'(\w+)'", definition)) == {state.value for state in states}


async def test_constraints_indexes_and_storage_match_the_models(
    database_url: str, empty_database_url: str
) -> None:
    """Alembic compares no CHECK, included column or storage, so the catalogs are compared."""
    database = Database(DatabaseSettings(url=SecretStr(empty_database_url)), application="test")
    async with database.transaction() as connection:
        await connection.run_sync(Table.metadata.create_all)
    await database.aclose()
    for query in LAYOUT:
        migrated = await fetch(database_url, query)
        assert migrated == await fetch(empty_database_url, query)
        assert len(migrated) >= 9


async def test_a_downgrade_drops_everything_and_an_upgrade_works_again(
    empty_database_url: str,
) -> None:
    await upgrade(empty_database_url)
    before = await fetch(empty_database_url, OURS)
    await downgrade(empty_database_url, "base")
    assert await fetch(empty_database_url, OURS) == []
    assert await fetch(empty_database_url, "SELECT version_num FROM alembic_version") == []
    await upgrade(empty_database_url)
    assert sorted(await fetch(empty_database_url, OURS)) == sorted(before)


async def test_concurrent_migrations_wait_for_each_other(empty_database_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_database_url) for _ in range(3)))
    newest = max(Path("migrations/versions").glob("0*.py")).name[:4]
    assert await fetch(empty_database_url, "SELECT version_num FROM alembic_version") == [newest]


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    before = await fetch(database_url, "SELECT oid FROM pg_class ORDER BY oid")
    await upgrade(database_url)
    assert await fetch(database_url, "SELECT oid FROM pg_class ORDER BY oid") == before
