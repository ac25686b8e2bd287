"""Connections for direct statements, apart from SQLAlchemy's: lending one is a list's pop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from asyncpg import Connection, PostgresError, ReadOnlySQLTransactionError


class DirectPool:
    """At most `size` connections, the latest used first; belongs to one event loop.

    A connection Postgres has closed in the meantime, as after its restart, is not handed out;
    neither is one whose borrower met anything but an ordinary error of Postgres. `waiting(seconds)`
    stands around every wait for a connection, and may end it early.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable["Connection[Any]"]],
        waiting: Callable[[float], AbstractAsyncContextManager[None]],
        *,
        size: int,
        timeout_seconds: float,
    ) -> None:
        self._connect = connect
        self._waiting = waiting
        self._free = asyncio.Semaphore(size)
        self._timeout_seconds = timeout_seconds
        self._idle: list[Connection[Any]] = []

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator["Connection[Any]"]:
        """Lend a connection.

        Raises:
            TimeoutError: none became free, or none was made, in time.
        """
        await self._acquire()
        try:
            driver = self._take() or await self._open()
            try:
                yield driver
            except BaseException as error:
                if not _leaves_it_whole(error):
                    driver.terminate()
                raise
            finally:
                self._idle.append(driver)
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """Close the connections that are not lent, whether or not Postgres answers."""
        unlent = iter(self._take, None)
        closing = (driver.close(timeout=self._timeout_seconds) for driver in unlent if driver)
        await asyncio.gather(*closing, return_exceptions=True)

    async def _acquire(self) -> None:
        if self._free.locked():
            async with self._waiting(self._timeout_seconds):
                await self._free.acquire()
        else:
            await self._free.acquire()  # at once: a timer for it would cost more than it

    async def _open(self) -> "Connection[Any]":
        async with self._waiting(self._timeout_seconds):
            return await self._connect()

    def _take(self) -> "Connection[Any] | None":
        while self._idle:
            driver = self._idle.pop()
            if not driver.is_closed():
                return driver
        return None


def _leaves_it_whole(error: BaseException) -> bool:
    """Tell whether a connection is good for more after `error`.

    It is not when its statement is still under way, its server silent, or the driver confused by
    a server that died meanwhile. Nor when its server is a standby now: the address leads to
    another.
    """
    return isinstance(error, PostgresError) and not isinstance(error, ReadOnlySQLTransactionError)
