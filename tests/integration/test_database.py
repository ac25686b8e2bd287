"""The pool: its limits, and a Postgres that goes and comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common.database import Database, is_unavailable
from common.settings import DatabaseSettings
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import PostgresServer
from deploy.local.processes import Supervisor


def small(
    url: str, *, pool_size: int = 1, connect_seconds: float = 0.3, statement_seconds: float = 0.2
) -> Database:
    settings = DatabaseSettings(
        url=SecretStr(url),
        pool_size=pool_size,
        connect_timeout_seconds=connect_seconds,
        statement_timeout_seconds=statement_seconds,
    )
    return Database(settings, application="test-pool")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = small(database_url)
    yield opened
    await opened.aclose()


async def one(database: Database) -> object:
    async with database.statement() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar_one()


async def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    insert = text("INSERT INTO tenants (name) VALUES ('alice')")

    async def insert_and_raise() -> None:
        async with database.transaction() as connection:
            await connection.execute(insert)
            raise KeyError

    with pytest.raises(KeyError):
        await insert_and_raise()
    async with database.statement() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM tenants"))).scalar_one() == 0
        await connection.execute(insert)
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM tenants"))).scalar_one() == 1


async def test_postgres_knows_us_and_our_limits(database: Database) -> None:
    async with database.statement() as connection:
        for name, value in (
            ("application_name", "test-pool"),
            ("statement_timeout", "200ms"),
            ("jit", "off"),
        ):
            assert (await connection.execute(text(f"SHOW {name}"))).scalar_one() == value


async def test_a_slow_statement_is_ended(database: Database) -> None:
    with pytest.raises(DBAPIError, match="statement timeout") as caught:
        async with database.statement() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert is_unavailable(caught.value)
    assert await one(database) == 1


async def test_a_caller_who_gives_up_leaves_the_pool_whole(database_url: str) -> None:
    database = small(database_url, statement_seconds=60)

    async def slow() -> None:
        async with database.statement() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.1)
    assert await one(database) == 1
    await database.aclose()


async def test_an_exhausted_pool_says_so(database: Database) -> None:
    async with database.statement():
        with pytest.raises(PoolTimeoutError, match=r"size 1 .* timeout 0\.30") as caught:
            await one(database)
    assert is_unavailable(caught.value)
    assert await one(database) == 1


async def test_no_postgres_is_told() -> None:
    database = small(f"postgresql://infill:x@{LOOPBACK}:{free_port()}/infill")
    with pytest.raises(OSError, match="Connect call failed") as caught:
        await one(database)
    assert is_unavailable(caught.value)
    await database.aclose()


async def test_a_wrong_statement_is_not_an_absent_postgres(database: Database) -> None:
    async with database.statement() as connection:
        with pytest.raises(ProgrammingError) as wrong:
            await connection.execute(text("SELECT * FROM nowhere"))
        with pytest.raises(IntegrityError) as refused:
            await connection.execute(text("INSERT INTO tenants (name) VALUES (NULL)"))
    assert not is_unavailable(wrong.value)
    assert not is_unavailable(refused.value)
    assert not is_unavailable(ValueError())


async def test_an_errors_text_tells_no_values(database: Database) -> None:
    with pytest.raises(ProgrammingError) as raised:
        async with database.statement() as connection:
            await connection.execute(text("SELECT :prompt FROM nowhere"), {"prompt": "hush"})
    assert "nowhere" in str(raised.value)
    assert "hush" not in str(raised.value)


async def test_after_a_restart_of_postgres_the_next_but_one_statement_works(
    tmp_path: Path,
) -> None:
    server = PostgresServer(tmp_path, free_port(), uuid4().hex, durable=False)
    await server.prepare()
    database = small(server.url("postgres"), pool_size=3, connect_seconds=10, statement_seconds=10)
    async with Supervisor(tmp_path / "logs") as supervisor:
        await supervisor.start(server.child())
        async with database.statement(), database.statement(), database.statement():
            pass  # three connections, all of which the restart kills
        assert await one(database) == 1

        await supervisor.stop_all()
        await supervisor.start(server.child())
        with pytest.raises(DBAPIError) as caught:
            await one(database)
        assert is_unavailable(caught.value)
        for _ in range(3):
            assert await one(database) == 1
        await database.aclose()
