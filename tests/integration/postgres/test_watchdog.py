"""Detection of a Postgres that rejects connections, is silent, or is merely slow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from asyncpg import ReadOnlySQLTransactionError
from pydantic import SecretStr
from sqlalchemy import func, literal, make_url, select, text
from sqlalchemy.exc import DBAPIError

from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.postgres.watchdog import PostgresUnavailableError
from common.settings import DatabaseSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import free_port
from deploy.local.servers.postgres import PostgresServer
from tests.support.freezing import frozen
from tests.support.tcp_proxy import Proxy

DEADLINE_SECONDS: Final = 60
POOL_SIZE: Final = 2
MANY: Final = 10 * POOL_SIZE

ONE: Final = select(literal(1).label("one"))
SLOW: Final = select(func.pg_sleep(literal(60)))
NEW_ROW: Final = text("INSERT INTO workers (name, queues) VALUES ('alice', '{}')")

Ask = Callable[[Database], Awaitable[object]]


def connected_to(url: str) -> Database:
    """Return a database with timeouts so long that only the watchdog can end a wait."""
    settings = DatabaseSettings(
        url=SecretStr(url),
        pool_size=POOL_SIZE,
        connect_timeout_seconds=1000,
        statement_timeout_seconds=1000,
    )
    return Database(settings, application="test-watch")


async def directly(database: Database) -> object:
    async with database.direct() as connection:
        return (await connection.execute(ONE, {})).scalar()


async def in_a_statement(database: Database) -> object:
    async with database.statement() as connection:
        return (await connection.execute(ONE)).scalar_one()


async def in_a_transaction(database: Database) -> object:
    async with database.transaction() as connection:
        return (await connection.execute(ONE)).scalar_one()


async def slowly(database: Database) -> object:
    async with database.direct() as connection:
        return await connection.execute(SLOW, {})


@pytest.fixture
async def database(database_url: str, database_proxy: Proxy) -> AsyncIterator[Database]:
    url = make_url(database_url).set(port=database_proxy.port)
    database = connected_to(url.render_as_string(hide_password=False))
    yield database
    await database.aclose()


async def assert_all_unavailable(database: Database, ask: Ask) -> None:
    """Start many more callers than connections; each must fail, none may hang."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        results = await asyncio.gather(
            *(ask(database) for _ in range(MANY)), return_exceptions=True
        )
    assert all(isinstance(result, Exception) and is_unavailable(result) for result in results)


async def wait_for_response(database: Database, ask: Ask) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                assert await ask(database) == 1
            except OSError:
                await asyncio.sleep(0)
            else:
                return


@pytest.mark.parametrize("ask", [directly, in_a_statement, in_a_transaction])
async def test_a_silent_postgres_is_unavailable_until_it_responds(
    database: Database, database_proxy: Proxy, ask: Ask
) -> None:
    await asyncio.gather(*(ask(database) for _ in range(POOL_SIZE)))
    database_proxy.stall()
    await assert_all_unavailable(database, ask)
    with pytest.raises(PostgresUnavailableError):
        await ask(database)
    with pytest.raises(PostgresUnavailableError):
        database.raise_if_unavailable()
    database_proxy.resume()
    await wait_for_response(database, ask)
    database.raise_if_unavailable()
    assert await asyncio.gather(*(ask(database) for _ in range(MANY))) == [1] * MANY


async def test_a_postgres_silent_before_the_first_connection_is_unavailable(
    database: Database, database_proxy: Proxy
) -> None:
    database_proxy.stall()
    await assert_all_unavailable(database, directly)
    database_proxy.resume()
    await wait_for_response(database, directly)


async def test_a_server_that_was_frozen_or_restarted_is_available_again(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, free_port(), uuid4().hex, durable=False)
    await server.prepare()
    database = connected_to(server.url("postgres"))
    async with Supervisor(tmp_path / "logs") as supervisor:
        pid = await supervisor.start(server.child())
        assert await in_a_statement(database) == await directly(database) == 1
        with frozen(pid):
            await assert_all_unavailable(database, directly)
            with pytest.raises(PostgresUnavailableError):
                await in_a_statement(database)
        await wait_for_response(database, in_a_statement)
        await supervisor.stop_all()
        await assert_all_unavailable(database, directly)
        await supervisor.start(server.child())
        await wait_for_response(database, directly)
        assert await in_a_statement(database) == 1
        await database.aclose()


async def test_a_slow_statement_does_not_make_postgres_unavailable(
    database: Database, database_proxy: Proxy
) -> None:
    slow = asyncio.create_task(slowly(database))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while database_proxy.connections < 3:  # noqa: ASYNC110 - its own, and two checks of the watchdog
            await asyncio.sleep(0)
    assert await directly(database) == await in_a_statement(database) == 1
    assert not slow.done()
    slow.cancel()


async def test_a_full_pool_does_not_make_postgres_unavailable(database_url: str) -> None:
    settings = DatabaseSettings(
        url=SecretStr(database_url), pool_size=1, connect_timeout_seconds=0.3
    )
    database = Database(settings, application="test-watch")
    async with database.direct():
        for _ in range(3):
            with pytest.raises(TimeoutError) as full:
                await directly(database)
            assert not isinstance(full.value, PostgresUnavailableError)
            assert await in_a_statement(database) == 1
    assert await directly(database) == 1
    await database.aclose()


async def test_a_long_lived_idle_connection_causes_no_check(
    database: Database, database_proxy: Proxy
) -> None:
    async with database.statement(long_lived=True):
        for _ in range(20):
            assert await directly(database) == 1
        # The check that finds no waiting caller is the last one.
        async with asyncio.timeout(DEADLINE_SECONDS):
            while database._watchdog._next_check:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0)
    assert database_proxy.connections == 2


@pytest.mark.parametrize("ask", [directly, in_a_statement])
async def test_closing_a_silent_postgres_does_not_hang(
    database: Database, database_proxy: Proxy, ask: Ask
) -> None:
    assert await ask(database) == 1
    database_proxy.stall()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await database.aclose()


async def test_closing_an_unavailable_postgres_does_not_hang(
    database: Database, database_proxy: Proxy
) -> None:
    database_proxy.stall()
    await assert_all_unavailable(database, directly)
    await database.aclose()


async def test_connections_to_a_server_that_became_read_only_are_dropped(
    database: Database,
) -> None:
    """As after a failover: the connection leads to the standby, the address to the primary."""
    async with database.statement() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))
    with pytest.raises(DBAPIError) as rejected:
        async with database.statement() as connection:
            await connection.execute(NEW_ROW)
    assert is_unavailable(rejected.value)
    async with database.statement() as connection:
        await connection.execute(NEW_ROW)

    async with database.direct() as direct:
        await direct.execute(select(func.set_config(*READ_ONLY).label("set")), {})
    with pytest.raises(ReadOnlySQLTransactionError):
        async with database.direct() as direct:
            await direct.execute(LOCKED, {})
    async with database.direct() as direct:
        await direct.execute(LOCKED, {})


READ_ONLY: Final = (literal("default_transaction_read_only"), literal("on"), literal(value=False))
# A row lock is a write to Postgres.
LOCKED: Final = select(literal(1).label("one")).select_from(text("tenants")).with_for_update()
