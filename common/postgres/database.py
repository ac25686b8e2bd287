"""The Postgres connection pools of a process, and how statements and transactions use them."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any

import orjson
from asyncpg import Connection, InterfaceError, PostgresError
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from common.postgres.connect import Connector
from common.postgres.errors import (
    CONNECTING,
    EXECUTING,
    READ_ONLY,
    PostgresConnectionError,
    find_sqlstate,
)
from common.postgres.pool import DirectPool
from common.postgres.statements import DirectConnection, DirectStatements
from common.postgres.watchdog import PostgresWatchdog
from common.settings import DatabaseSettings

# Sees the rows of one tenant at a time; statements across tenants are SQL functions.
GATEWAY_ROLE = "infill_gateway"


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


class Database:
    """The Postgres connection pools of a process.

    Borrow a connection only for the duration of a statement or a transaction, not during other
    work.
    """

    def __init__(
        self, settings: DatabaseSettings, *, application: str, role: str | None = None
    ) -> None:
        """Configure the pools; connections are opened only when they are needed.

        Postgres lists the connections under the name `application`. Each connection switches to
        `role`, or keeps the role of the login account if `role` is None.
        """
        self._connector = Connector(settings, application=application, role=role)
        self._watchdog = PostgresWatchdog(
            self._connector.connect, probe_seconds=self._connector.probe_seconds
        )
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._watchdog.connect,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.connect_timeout_seconds,
            # A ping before each statement would cost every request a round trip; closed
            # connections are discarded at checkout without one.
            pool_pre_ping=False,
            # Parameters are tenants' data, and error messages go into the log.
            hide_parameters=True,
            json_serializer=_to_json,
            json_deserializer=orjson.loads,
        )
        event.listen(self.engine.sync_engine, "checkout", _discard_closed)
        event.listen(self.engine.sync_engine, "handle_error", _discard_read_only)
        self._direct_pool = DirectPool(
            self._connect_directly,
            self._watchdog.abort_if_unavailable,
            size=settings.pool_size,
            timeout_seconds=settings.connect_timeout_seconds,
        )
        self._direct = DirectStatements(self.engine.dialect)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def raise_if_unavailable(self) -> None:
        """Raise if Postgres is known to be down, without any I/O; call this before costly work.

        Raises:
            PostgresUnavailableError: Postgres is known to be unavailable.
        """
        self._watchdog.raise_if_unavailable()

    @property
    def rejection(self) -> str | None:
        """Why the server's connections cannot be used, as a sentence for operators, or None."""
        return self._connector.rejection

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that commits at the end of the block, or rolls back on an error."""
        with self._watchdog, EXECUTING:
            async with self._check_out(self.engine.begin()) as connection:
                yield connection

    @asynccontextmanager
    async def statement(self, *, long_lived: bool = False) -> AsyncGenerator[AsyncConnection]:
        """Borrow a connection in autocommit mode: each statement is its own transaction.

        Most changes are a single statement, for which BEGIN and COMMIT would triple the number of
        round trips. The watchdog ignores a `long_lived` connection, because it is idle most of the
        time.
        """
        with nullcontext() if long_lived else self._watchdog, EXECUTING:
            async with self._check_out(self._autocommit.connect()) as connection:
                yield connection

    @asynccontextmanager
    async def direct(self, tenant_id: int | None = None) -> AsyncGenerator[DirectConnection]:
        """Borrow a connection for precompiled statements, each its own transaction.

        Under the gateway's role, row-level security shows only the rows of `tenant_id`, or no rows
        if `tenant_id` is None.
        """
        with self._watchdog, EXECUTING:
            async with self._direct_pool.connection(tenant_id) as driver:
                yield DirectConnection(driver, self._direct)

    @asynccontextmanager
    async def _check_out(
        self, opening: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncGenerator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            with CONNECTING:
                async with self._watchdog.abort_if_unavailable():
                    connection = await stack.enter_async_context(opening)
            yield connection

    async def _connect_directly(self) -> "Connection[Any]":
        try:
            driver = await self._watchdog.connect()
            for name in ("json", "jsonb"):
                await driver.set_type_codec(
                    name, schema="pg_catalog", encoder=str, decoder=orjson.loads
                )
        except (PostgresError, InterfaceError) as error:
            raise PostgresConnectionError(str(error)) from error
        return driver

    async def aclose(self) -> None:
        """Close all connections, even if Postgres does not respond."""
        await self._watchdog.aclose()
        await self._direct_pool.aclose()
        await self.engine.dispose()


def _discard_closed(connection: Any, _record: object, _lent: object) -> None:
    """Make the pool replace a connection that was closed while it was idle."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _discard_read_only(context: ExceptionContext) -> None:
    """Make the pool discard a connection whose server has become a read-only standby.

    After a failover, a new connection to the same address reaches the new primary.
    """
    if find_sqlstate(context.original_exception) == READ_ONLY:
        context.is_disconnect = True
