"""Watching whether Postgres is there, so that while it is away everybody is told at once.

Only one thing counts as proof: a fresh connection that gets no answer, while nobody else gets one
either. A statement that is slow, or a pool that is full, is never taken for an absence.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

import structlog
from asyncpg import Connection, InterfaceError, InternalClientError, PostgresError
from asyncpg import DataError as DriverDataError
from asyncpg.exceptions import (
    AdminShutdownError,
    CannotConnectNowError,
    CrashShutdownError,
    IntegrityConstraintViolationError,
    PostgresConnectionError,
    SyntaxOrAccessError,
)
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# Somebody asks and nobody is answered for so long: then we ask ourselves.
SILENCE_SECONDS: Final = 0.5
# Between two of our questions while Postgres is away.
PAUSE_SECONDS: Final = 0.5

# What a server says that goes down or comes up; all else it says is an answer.
SHUTTING_DOWN: Final = (
    AdminShutdownError,
    CannotConnectNowError,
    CrashShutdownError,
    PostgresConnectionError,
)

# All that the ways to Postgres raise; `is_unavailable` tells which of it is not our own mistake.
DATABASE_ERRORS: Final = (
    SQLAlchemyError,
    PostgresError,
    InterfaceError,
    InternalClientError,
    OSError,
)

log = structlog.get_logger(__name__)


class PostgresUnavailableError(ConnectionError):
    """Postgres does not answer at present; nothing was asked."""

    def __init__(self) -> None:
        super().__init__("Postgres is away")


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
    # The built-in TimeoutError is an OSError. An internal error is the driver's way to say that it
    # was told of the server's end while nobody asked anything.
    return isinstance(error, OSError | PoolTimeoutError | InterfaceError | InternalClientError)


class PostgresWatchdog:
    """Lets callers through while Postgres is there; belongs to one event loop.

    A caller's trouble, or a silence, makes us ask over a connection of our own. If that is not
    answered within `probe_seconds`, every connection is broken off, whoever waits is let go,
    and nobody is let in until a question of ours has been answered.
    """

    def __init__(
        self, connect: Callable[[], Awaitable["Connection[Any]"]], *, probe_seconds: float
    ) -> None:
        self._connect = connect
        self._probe_seconds = probe_seconds
        self._unavailable = False
        self._connections: WeakSet[Connection[Any]] = WeakSet()
        self._waiting_callers: set[asyncio.Timeout] = set()
        self._under_way = 0
        self._answered = 0
        self._next_check: asyncio.TimerHandle | None = None
        self._probing: asyncio.Task[None] | None = None

    def raise_if_unavailable(self) -> None:
        """Make sure that Postgres is not known to be away; costs nothing.

        Raises:
            PostgresUnavailableError: it is.
        """
        if self._unavailable:
            raise PostgresUnavailableError

    def __enter__(self) -> None:
        """Begin to ask Postgres something.

        Raises:
            PostgresUnavailableError: it is away.
        """
        if self._unavailable:
            raise PostgresUnavailableError
        self._under_way += 1
        if self._next_check is None:
            self._schedule_check()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._under_way -= 1
        if error is None:
            self._answered += 1
        elif isinstance(error, Exception) and is_unavailable(error):
            self._start_probing()

    async def connect(self) -> "Connection[Any]":
        """Open a connection that is broken off when Postgres goes away."""
        connection = await self._connect()
        self._connections.add(connection)
        return connection

    @asynccontextmanager
    async def abort_if_unavailable(self, seconds: float | None = None) -> AsyncGenerator[None]:
        """Wait for a connection in this block, for so long at most; an absence ends it too.

        Raises:
            PostgresUnavailableError: Postgres went away meanwhile.
            TimeoutError: the time is up.
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
        """Stop watching; break the connections off if closing them would get no answer."""
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
            SILENCE_SECONDS, self._check_progress, self._under_way, self._answered
        )

    def _check_progress(self, under_way: int, answered: int) -> None:
        """Look whether anybody has been answered since the look before."""
        self._next_check = None
        if not self._under_way:
            return
        if under_way and answered == self._answered:
            self._start_probing()
        self._schedule_check()

    def _start_probing(self) -> None:
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe_until_answered())

    async def _probe_until_answered(self) -> None:
        answered = self._answered
        try:
            while not await self._probe():
                if self._answered != answered:
                    return  # somebody was: this process was slow, not Postgres
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
        log.warning("postgres_unavailable", under_way=self._under_way)
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
            return not isinstance(error, SHUTTING_DOWN)
        except Exception:  # noqa: BLE001 whatever the trouble, it is asked again
            return False
        return True
