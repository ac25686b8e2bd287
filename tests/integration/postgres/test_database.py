"""The pool: its limits, and a Postgres that becomes unavailable and available again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import SmallInteger, bindparam, cast, func, literal, make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.settings import DatabaseSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.servers.postgres import PostgresServer


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


async def test_a_block_that_raises_is_rolled_back(database: Database) -> None:
    insert = text("INSERT INTO workers (name, queues) VALUES ('alice', '{}')")

    async def insert_and_raise() -> None:
        async with database.transaction() as connection:
            await connection.execute(insert)
            raise KeyError

    with pytest.raises(KeyError):
        await insert_and_raise()
    async with database.statement() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM workers"))).scalar_one() == 0
        await connection.execute(insert)
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM workers"))).scalar_one() == 1


async def test_application_name_and_limits_are_set_on_the_server(database: Database) -> None:
    async with database.statement() as connection:
        for name, value in (
            ("application_name", "test-pool"),
            ("statement_timeout", "200ms"),
            ("jit", "off"),
        ):
            assert (await connection.execute(text(f"SHOW {name}"))).scalar_one() == value


async def test_a_slow_statement_times_out(database: Database) -> None:
    with pytest.raises(DBAPIError, match="statement timeout") as caught:
        async with database.statement() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert is_unavailable(caught.value)
    assert await one(database) == 1


async def test_a_canceled_caller_returns_its_connection_to_the_pool(database_url: str) -> None:
    database = small(database_url, statement_seconds=60)

    async def slow() -> None:
        async with database.statement() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.1)
    assert await one(database) == 1
    await database.aclose()


async def test_an_exhausted_pool_is_unavailable(database: Database) -> None:
    async with database.statement():
        with pytest.raises(PoolTimeoutError, match=r"size 1 .* timeout 0\.30") as caught:
            await one(database)
    assert is_unavailable(caught.value)
    assert await one(database) == 1


async def test_a_failed_connect_is_unavailable() -> None:
    database = small(f"postgresql://infill:x@{LOOPBACK}:{free_port()}/infill")
    with pytest.raises(OSError, match="Connect call failed") as caught:
        await one(database)
    assert is_unavailable(caught.value)
    await database.aclose()


async def test_a_wrong_statement_is_not_unavailable(database: Database) -> None:
    async with database.statement() as connection:
        with pytest.raises(ProgrammingError) as wrong:
            await connection.execute(text("SELECT * FROM nowhere"))
        with pytest.raises(IntegrityError) as rejected:
            await connection.execute(text("INSERT INTO workers (name, queues) VALUES (NULL, '{}')"))
    assert not is_unavailable(wrong.value)
    assert not is_unavailable(rejected.value)
    assert not is_unavailable(ValueError())


async def test_an_errors_text_contains_no_values(database: Database) -> None:
    with pytest.raises(ProgrammingError) as raised:
        async with database.statement() as connection:
            await connection.execute(text("SELECT :prompt FROM nowhere"), {"prompt": "hush"})
    assert "nowhere" in str(raised.value)
    assert "hush" not in str(raised.value)


async def test_after_a_restart_of_postgres_the_next_statement_works(
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
        for _ in range(3):
            assert await one(database) == 1
        await database.aclose()


class Relay:
    """TCP relay to Postgres that can stop forwarding on its connections without closing them."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._lines: list[asyncio.StreamWriter] = []
        self._silent = 0

    def silence(self) -> None:
        """Stop forwarding data of the present connections; new ones are not affected."""
        self._silent = len(self._lines)

    def inject(self, message: bytes) -> None:
        """Send data to the clients that the server did not send."""
        for writer in self._lines[::2]:
            writer.write(message)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        number = len(self._lines)
        self._lines += [writer, up_writer]
        await asyncio.gather(
            self._pass(reader, up_writer, number),
            self._pass(up_reader, writer, number),
        )

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                if number >= self._silent:
                    sink.write(data)
        sink.close()

    def close(self) -> None:
        for writer in self._lines:
            writer.close()


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[tuple[Relay, str]]:
    url = make_url(database_url)
    assert url.host is not None
    assert url.port is not None
    relay = Relay(url.host, url.port)
    server = await asyncio.start_server(relay.serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    yield relay, url.set(host=LOOPBACK, port=port).render_as_string(hide_password=False)
    server.close()
    relay.close()


ONE: Final = select(literal(1).label("one"))
SLOW: Final = select(func.pg_sleep(literal(60)))
SMALL: Final = select(bindparam("number", type_=SmallInteger()).label("small"))
OVERFLOWING: Final = select(cast(literal(70_000), SmallInteger()).label("small"))


async def directly(database: Database) -> object:
    async with database.direct() as connection:
        return (await connection.execute(ONE, {})).scalar()


async def in_a_transaction(database: Database) -> object:
    async with database.transaction() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar_one()


@pytest.mark.parametrize("ask", [one, directly, in_a_transaction])
async def test_a_silent_connection_is_dropped_after_one_timeout(
    relay: tuple[Relay, str], ask: Callable[[Database], Awaitable[object]]
) -> None:
    way, url = relay
    database = small(url, connect_seconds=5)
    assert await ask(database) == 1
    way.silence()
    with pytest.raises(TimeoutError) as caught:
        await ask(database)
    assert is_unavailable(caught.value)
    assert await ask(database) == 1
    await database.aclose()


def fatal_error() -> bytes:
    """Return the last message of a backend when its server has died."""
    fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4) + fields


@pytest.mark.parametrize("ask", [one, directly, in_a_transaction])
async def test_a_connection_whose_server_announced_its_end_is_not_used_again(
    relay: tuple[Relay, str], ask: Callable[[Database], Awaitable[object]]
) -> None:
    """The server has announced its shutdown, and the connection is still open."""
    way, url = relay
    database = small(url, connect_seconds=5)
    assert await ask(database) == 1
    way.inject(fatal_error())
    other = await asyncpg.connect(url)  # the injected message has arrived by then
    await other.close()
    with pytest.raises(Exception, match="another operation") as caught:
        await ask(database)
    assert is_unavailable(caught.value)
    assert await ask(database) == 1
    await database.aclose()


async def test_a_canceled_caller_closes_its_direct_connection(database_url: str) -> None:
    database = small(database_url, statement_seconds=60, connect_seconds=5)

    async def slow() -> None:
        async with database.direct() as connection:
            await connection.execute(SLOW, {})

    assert await directly(database) == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.1)
    assert await directly(database) == 1
    await database.aclose()


async def test_closing_does_not_wait_for_a_response(relay: tuple[Relay, str]) -> None:
    way, url = relay
    database = small(url)
    assert await directly(database) == 1
    way.silence()
    await database.aclose()


async def test_a_value_out_of_range_is_not_unavailable(database: Database) -> None:
    with pytest.raises(asyncpg.DataError) as too_large:
        async with database.direct() as connection:
            await connection.execute(SMALL, {"number": 70_000})
    assert not is_unavailable(too_large.value)
    with pytest.raises(asyncpg.DataError) as overflown:
        async with database.direct() as connection:
            await connection.execute(OVERFLOWING, {})
    assert not is_unavailable(overflown.value)
