"""`infill migrate` waits a bounded time for locks, and names who holds them or what is missing."""

import re
from collections.abc import AsyncIterator
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url

from common.domain.errors import ConfigurationError
from deploy.cli import migrate
from deploy.cli.migrate import MIGRATION_LOCK, upgrade
from tests.conftest import Servers

Connection: TypeAlias = "asyncpg.Connection[Any]"


@pytest.fixture
async def forgotten(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connection]:
    """Yield a connection whose open transaction holds a lock that a migration needs."""
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 1.5)
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0.1)
    connection = await asyncpg.connect(
        database_url, server_settings={"application_name": "forgotten"}
    )
    await connection.execute("BEGIN; LOCK TABLE alembic_version")
    yield connection
    await connection.close()


async def test_the_session_that_holds_the_lock_is_named(
    forgotten: Connection, database_url: str
) -> None:
    messages: list[str] = []
    with pytest.raises(ConfigurationError) as caught:
        await upgrade(database_url, wait_seconds=0, report=messages.append)
    pid = forgotten.get_server_pid()
    session = rf"pid {pid} \(application forgotten, account infill, idle in transaction, last"
    assert re.search(session, caught.value.message)
    assert "was not migrated" in caught.value.message
    assert len(messages) == 1
    assert re.search(session, messages[0])
    # Nothing waits for the lock any longer, so that other statements do not queue behind it.
    assert await forgotten.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0


async def test_the_migration_goes_on_when_the_lock_is_free(
    forgotten: Connection, database_url: str
) -> None:
    messages: list[str] = []

    def release(message: str) -> None:
        messages.append(message)
        forgotten.terminate()

    await upgrade(database_url, wait_seconds=60, report=release)
    assert messages


async def test_another_migration_that_does_not_end_is_named(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 1.5)
    other = await asyncpg.connect(database_url)
    await other.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
    with pytest.raises(ConfigurationError, match=f"pid {other.get_server_pid()} "):
        await upgrade(database_url, wait_seconds=0)
    await other.close()


@pytest.mark.usefixtures("template_database")  # the role exists
async def test_a_missing_right_is_a_sentence_with_the_grant(servers: Servers) -> None:
    name = f"limited_{uuid4().hex}"
    owner = await asyncpg.connect(servers.postgres.url("postgres"))
    await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'limited'")
    await owner.execute(f"CREATE DATABASE {name} OWNER {name}")
    url = make_url(servers.postgres.url(name)).set(username=name, password="limited")
    with pytest.raises(ConfigurationError) as caught:
        await upgrade(url.render_as_string(hide_password=False))
    assert caught.value.message == (
        f"the database was not migrated: {name} may not assume the role infill_gateway. "
        f"As a superuser, run GRANT infill_gateway TO {name}; then migrate again."
    )
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.execute(f"DROP ROLE {name}")
    await owner.close()
