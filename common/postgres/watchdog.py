"""Detect that Postgres is unavailable, so that callers fail at once instead of timing out.

Postgres counts as unavailable only if a probe over a new connection fails and no other statement
finishes meanwhile. A slow statement or an exhausted pool does not count.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

import structlog
from asyncpg import Connection, PostgresError
from asyncpg.exceptions import (
    AdminShutdownError,
    CannotConnectNowError,
    CrashShutdownError,
)
from asyncpg.exceptions import PostgresConnectionError as ServerConnectionError

from common.postgres.errors import PostgresConnectionError, describe_cause, is_unavailable

# Statements have been running, and none has finished, for this long: then a probe is started.
SILENCE_SECONDS: Final = 0.5
# Between two probes while Postgres is unavailable.
PAUSE_SECONDS: Final = 0.5

# Errors of a server that is starting or shutting down; any other shows that it is available.
SHUTTING_DOWN: Final = (
    AdminShutdownError,
    CannotConnectNowError,
    CrashShutdownError,
    ServerConnectionError,
)

log = structlog.get_logger(__name__)


class PostgresUnavailableError(PostgresConnectionError):
    """Postgres is known to be unavailable, so the statement was not sent."""

    def __init__(self) -> None:
        super().__init__("Postgres is unavailable")


class PostgresWatchdog:
    """Circuit breaker that rejects callers while Postgres is unavailable; for one event loop.

    After a caller's error, or if no statement finishes for a while, it probes Postgres over a
    separate connection. If the probe fails or takes longer than `probe_seconds`, all connections
    are terminated, all waiting callers fail, and new callers are rejected until a probe succeeds.
    """

    def __init__(
        self, connect: Callable[[], Awaitable["Connection[Any]"]], *, probe_seconds: float
    ) -> None:
        self._connect = connect
        self._probe_seconds = probe_seconds
        self._unavailable = False
        self._probe_error: Exception | None = None
        self._connections: WeakSet[Connection[Any]] = WeakSet()
        self._waiting_callers: set[asyncio.Timeout] = set()
        self._running = 0
        self._finished = 0
        self._next_check: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None

    def raise_if_unavailable(self) -> None:
        """Raise if Postgres is known to be unavailable, without any I/O.

        Raises:
            PostgresUnavailableError: Postgres is known to be unavailable.
        """
        if self._unavailable:
            raise PostgresUnavailableError from self._probe_error

    def __enter__(self) -> None:
        """Register a statement or transaction as running.

        Raises:
            PostgresUnavailableError: Postgres is known to be unavailable.
        """
        self.raise_if_unavailable()
        self._running += 1
        if self._next_check is None:
            self._schedule_check()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._running -= 1
        if error is None:
            self._finished += 1
        elif isinstance(error, Exception) and is_unavailable(error):
            self._start_probing()

    async def connect(self) -> "Connection[Any]":
        """Return a new connection that is terminated if Postgres becomes unavailable."""
        connection = await self._connect()
        self._connections.add(connection)
        return connection

    @asynccontextmanager
    async def abort_if_unavailable(self, seconds: float | None = None) -> AsyncGenerator[None]:
        """Limit the block to `seconds`, and abort it if Postgres becomes unavailable.

        Raises:
            PostgresUnavailableError: Postgres became unavailable during the block.
            TimeoutError: the time limit was reached.
        """
        try:
            async with asyncio.timeout(seconds) as wait:
                self._waiting_callers.add(wait)
                try:
                    yield
                finally:
                    self._waiting_callers.discard(wait)
        except TimeoutError:
            self.raise_if_unavailable()
            raise

    async def aclose(self) -> None:
        """Stop watching, and terminate all connections if Postgres does not respond."""
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        if not all(one.is_closed() for one in self._connections) and not await self._probe():
            self._terminate_connections()

    def _terminate_connections(self) -> None:
        for connection in list(self._connections):
            connection.terminate()

    def _schedule_check(self) -> None:
        self._next_check = asyncio.get_running_loop().call_later(
            SILENCE_SECONDS, self._check_progress, self._running, self._finished
        )

    def _check_progress(self, running: int, finished: int) -> None:
        """Start probing if no statement has finished since the previous check."""
        self._next_check = None
        if not self._running:
            return
        if running and finished == self._finished:
            self._start_probing()
        self._schedule_check()

    def _start_probing(self) -> None:
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe_until_available())

    async def _probe_until_available(self) -> None:
        finished = self._finished
        try:
            while not await self._probe():
                if self._finished != finished:
                    return  # a statement finished: this process was slow, not Postgres
                self._declare_unavailable()
                await asyncio.sleep(PAUSE_SECONDS)
            if self._unavailable:
                log.info("postgres_available")
        finally:
            self._unavailable = False
            self._probing = None

    def _declare_unavailable(self) -> None:
        if self._unavailable:
            return
        self._unavailable = True
        log.warning(
            "postgres_unavailable", running=self._running, reason=describe_cause(self._probe_error)
        )
        self._terminate_connections()
        now = asyncio.get_running_loop().time()
        for wait in self._waiting_callers:
            if not wait.expired():
                wait.reschedule(now)

    async def _probe(self) -> bool:
        try:
            async with asyncio.timeout(self._probe_seconds):
                connection = await self._connect()
                try:
                    await connection.fetchval("SELECT 1")
                    await connection.close()
                finally:
                    connection.terminate()
        except PostgresError as error:
            self._probe_error = error
            return not isinstance(error, SHUTTING_DOWN)
        except Exception as error:  # noqa: BLE001 whatever the error, Postgres is probed again
            self._probe_error = error
            return False
        return True
