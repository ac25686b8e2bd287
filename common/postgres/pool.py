"""A pool of asyncpg connections for direct statements, faster than SQLAlchemy's pool."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from asyncpg import Connection, PostgresError, ReadOnlySQLTransactionError

from common.postgres.errors import CONNECTING, PostgresRejectedError

# The row-level security policies compare `tenant_id` with this setting; empty matches no row. The
# process and the role prove in the same round trip that the session is still the same one.
SET_TENANT: Final = (
    "SELECT set_config('infill.tenant_id', $1, false), pg_backend_pid() AS backend, "
    "CAST(current_user AS text) AS role"
)
SESSION_REPLACED: Final = (
    "a pooler has replaced the session of a connection: it must assign server connections per "
    "session (`pool_mode = session`)"
)


class _UnknownTenant(Enum):
    """Sentinel for the tenant of a connection while it is being changed; equals no tenant id."""

    UNKNOWN = 0


@dataclass(slots=True)
class _PooledConnection:
    """A connection and the tenant whose rows are visible on it; None if no rows are visible."""

    driver: "Connection[Any]"
    tenant_id: int | _UnknownTenant | None = None
    session: tuple[int, str] | None = None  # process and role, once they are known

    async def set_tenant(self, tenant_id: int | None) -> None:
        """Make only this tenant's rows visible; skip the query if the tenant is already set.

        Raises:
            PostgresRejectedError: the connection has another session than before.
        """
        if self.tenant_id == tenant_id:
            return
        self.tenant_id = _UnknownTenant.UNKNOWN  # until Postgres has confirmed the change
        found = await self.driver.fetchrow(SET_TENANT, "" if tenant_id is None else str(tenant_id))
        session = None if found is None else (found["backend"], found["role"])
        if self.session is not None and session != self.session:
            raise PostgresRejectedError(SESSION_REPLACED)
        self.session = session
        self.tenant_id = tenant_id


class DirectPool:
    """A pool of at most `size` connections; it must be used in a single event loop.

    A borrower gets the most recently used idle connection that is already set to its tenant,
    because changing the tenant costs a round trip. If there is none, the least recently used idle
    connection is set to the tenant.

    A connection is dropped if Postgres has closed it, for example by a restart, or if its borrower
    raised anything other than an ordinary Postgres error. The context manager
    `abort_if_unavailable` wraps every wait for a connection, and may end the wait early.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable["Connection[Any]"]],
        abort_if_unavailable: Callable[[float], AbstractAsyncContextManager[None]],
        *,
        size: int,
        timeout_seconds: float,
    ) -> None:
        self._connect = connect
        self._abort_if_unavailable = abort_if_unavailable
        self._free = asyncio.Semaphore(size)
        self._timeout_seconds = timeout_seconds
        self._idle: list[_PooledConnection] = []  # most recently used last

    @asynccontextmanager
    async def connection(self, tenant_id: int | None = None) -> AsyncGenerator["Connection[Any]"]:
        """Lend a connection that shows only the rows of `tenant_id`, or no rows if it is None.

        Raises:
            PostgresTimeoutError: no connection became free or could be opened in time.
        """
        await self._acquire()
        try:
            pooled = self._take_idle(tenant_id) or await self._open()
            try:
                with CONNECTING:
                    await pooled.set_tenant(tenant_id)
                yield pooled.driver
            except BaseException as error:
                if not _is_reusable_after(error):
                    pooled.driver.terminate()
                raise
            finally:
                self._idle.append(pooled)
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """Close the idle connections, even if Postgres does not respond."""
        idle = iter(self._take_idle, None)
        closing = (pooled.driver.close(timeout=self._timeout_seconds) for pooled in idle if pooled)
        await asyncio.gather(*closing, return_exceptions=True)

    async def _acquire(self) -> None:
        if self._free.locked():
            with CONNECTING:
                async with self._abort_if_unavailable(self._timeout_seconds):
                    await self._free.acquire()
        else:
            await self._free.acquire()  # does not wait, so it needs no timer

    async def _open(self) -> _PooledConnection:
        with CONNECTING:
            async with self._abort_if_unavailable(self._timeout_seconds):
                return _PooledConnection(await self._connect())

    def _take_idle(self, tenant_id: int | None = None) -> _PooledConnection | None:
        while self._idle:
            pooled = self._idle.pop(self._find_best_index(tenant_id))
            if not pooled.driver.is_closed():
                return pooled
        return None

    def _find_best_index(self, tenant_id: int | None) -> int:
        for index in range(len(self._idle) - 1, 0, -1):
            if self._idle[index].tenant_id == tenant_id:
                return index
        return 0


def _is_reusable_after(error: BaseException) -> bool:
    """Return whether a connection can be used again after its borrower raised `error`.

    It can be used again after an ordinary Postgres error. After any other error, the statement may
    still be running, the server may not respond, or the driver's state may be inconsistent. If a
    read-only server rejected a write, a new connection may reach the new primary.
    """
    return isinstance(error, PostgresError) and not isinstance(error, ReadOnlySQLTransactionError)
