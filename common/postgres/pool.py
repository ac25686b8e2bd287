"""Connections for direct statements, apart from SQLAlchemy's: lending one is a list's pop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from asyncpg import Connection, PostgresError, ReadOnlySQLTransactionError

# What the policies of the tables compare `tenant_id` with; empty is nobody.
SPEAK_FOR: Final = "SELECT set_config('infill.tenant_id', $1, false)"


class _Unsure(Enum):
    """Equal to no tenant, and not to nobody either."""

    UNSURE = 0


@dataclass(slots=True)
class _Line:
    """A connection, and the tenant it speaks for; None for nobody."""

    driver: "Connection[Any]"
    tenant_id: int | _Unsure | None = None

    async def speak_for(self, tenant_id: int | None) -> None:
        """Have Postgres show this tenant's rows alone, unless it does so already."""
        if self.tenant_id == tenant_id:
            return
        self.tenant_id = _Unsure.UNSURE  # until Postgres has said that it was heard
        await self.driver.fetchval(SPEAK_FOR, "" if tenant_id is None else str(tenant_id))
        self.tenant_id = tenant_id


class DirectPool:
    """At most `size` connections; belongs to one event loop.

    One that speaks for the tenant at hand is used first, and the latest used of those: to speak
    for another takes a round trip. So it is done to the one that was used the longest ago.

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
        self._idle: list[_Line] = []  # the latest used last

    @asynccontextmanager
    async def connection(self, tenant_id: int | None = None) -> AsyncGenerator["Connection[Any]"]:
        """Lend a connection that speaks for a tenant, or for nobody.

        Raises:
            TimeoutError: none became free, or none was made, in time.
        """
        await self._acquire()
        try:
            line = self._take(tenant_id) or await self._open()
            try:
                await line.speak_for(tenant_id)
                yield line.driver
            except BaseException as error:
                if not _leaves_it_whole(error):
                    line.driver.terminate()
                raise
            finally:
                self._idle.append(line)
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """Close the connections that are not lent, whether or not Postgres answers."""
        unlent = iter(self._take, None)
        closing = (line.driver.close(timeout=self._timeout_seconds) for line in unlent if line)
        await asyncio.gather(*closing, return_exceptions=True)

    async def _acquire(self) -> None:
        if self._free.locked():
            async with self._waiting(self._timeout_seconds):
                await self._free.acquire()
        else:
            await self._free.acquire()  # at once: a timer for it would cost more than it

    async def _open(self) -> _Line:
        async with self._waiting(self._timeout_seconds):
            return _Line(await self._connect())

    def _take(self, tenant_id: int | None = None) -> _Line | None:
        while self._idle:
            line = self._idle.pop(self._place(tenant_id))
            if not line.driver.is_closed():
                return line
        return None

    def _place(self, tenant_id: int | None) -> int:
        for place in range(len(self._idle) - 1, 0, -1):
            if self._idle[place].tenant_id == tenant_id:
                return place
        return 0


def _leaves_it_whole(error: BaseException) -> bool:
    """Tell whether a connection is good for more after `error`.

    It is not when its statement is still under way, its server silent, or the driver confused by
    a server that died meanwhile. Nor when its server is a standby now: the address leads to
    another.
    """
    return isinstance(error, PostgresError) and not isinstance(error, ReadOnlySQLTransactionError)
