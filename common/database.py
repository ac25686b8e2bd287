"""Postgres: one pool per process, one way to open a transaction."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from asyncpg import Connection, InterfaceError, PostgresError
from asyncpg import DataError as DriverDataError
from asyncpg.exceptions import IntegrityConstraintViolationError, SyntaxOrAccessError
from sqlalchemy import make_url
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from common.direct import DirectConnection, DirectStatements
from common.direct_pool import DirectPool
from common.settings import DatabaseSettings

SECONDS_TO_MILLISECONDS = 1000


def is_unavailable(error: Exception) -> bool:
    """Tell whether `error` means that Postgres is away or too busy, not that we asked wrongly."""
    if isinstance(error, DBAPIError):
        return not isinstance(
            error, IntegrityError | ProgrammingError | DataError | NotSupportedError
        )
    # Straight from the driver: where a direct statement ran, or no connection came about.
    if isinstance(error, PostgresError):
        return not isinstance(
            error, IntegrityConstraintViolationError | SyntaxOrAccessError | DriverDataError
        )
    # The built-in TimeoutError is an OSError.
    return isinstance(error, OSError | PoolTimeoutError | InterfaceError)


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


class Database:
    """The pool. A connection is held for a statement or a transaction, never across other work."""

    def __init__(self, settings: DatabaseSettings, *, application: str) -> None:
        """Describe the pool; nothing is connected before it is needed.

        `application` is the name Postgres shows for our connections.
        """
        url = make_url(settings.url.get_secret_value()).set(drivername="postgresql+asyncpg")
        timeout_ms = int(settings.statement_timeout_seconds * SECONDS_TO_MILLISECONDS)
        self._connect_args: dict[str, Any] = {
            "timeout": settings.connect_timeout_seconds,
            # The server ends a slow statement; this ends the wait for a server gone silent.
            "command_timeout": settings.statement_timeout_seconds * 2,
            "server_settings": {
                "application_name": application,
                "statement_timeout": str(timeout_ms),
                # Our statements are small: compiling them takes longer than running them.
                "jit": "off",
            },
        }
        self.engine = create_async_engine(
            url,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.connect_timeout_seconds,
            # A dead server is noticed by the statement that fails, which empties the pool;
            # a ping before each statement would cost every request a round trip.
            pool_pre_ping=False,
            # A statement's values are tenants' words; its error's text goes into the log.
            hide_parameters=True,
            json_serializer=_to_json,
            json_deserializer=orjson.loads,
            connect_args=self._connect_args,
        )
        self._direct_pool = DirectPool(
            self._connect_directly,
            size=settings.pool_size,
            timeout_seconds=settings.connect_timeout_seconds,
        )
        self._direct = DirectStatements(self.engine.dialect)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction; it commits when the block ends and rolls back when it raises."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncGenerator[AsyncConnection]:
        """Open a connection on which each statement is its own transaction.

        Most of our facts are one statement; BEGIN and COMMIT would triple its round trips.
        """
        async with self._autocommit.connect() as connection:
            yield connection

    @asynccontextmanager
    async def direct(self) -> AsyncGenerator[DirectConnection]:
        """Open a connection for statements that are constants, each its own transaction."""
        async with self._direct_pool.connection() as driver:
            yield DirectConnection(driver, self._direct)

    async def _connect_directly(self) -> "Connection[Any]":
        _, options = self.engine.dialect.create_connect_args(self.engine.url)
        try:
            driver = await asyncpg.connect(**options, **self._connect_args)
            await driver.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads
            )
        except (PostgresError, InterfaceError) as error:
            raise ConnectionError("no connection to Postgres") from error
        return driver

    async def aclose(self) -> None:
        """Close every connection."""
        await self._direct_pool.aclose()
        await self.engine.dispose()
