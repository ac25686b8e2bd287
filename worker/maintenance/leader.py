"""Leader election by a Postgres advisory lock: one process at a time runs a maintenance task."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.database import Database
from common.postgres.locks import Lock, try_lock
from common.runtime.asyncio_tools import wait_for_event
from common.runtime.availability import Availability

log = structlog.get_logger(__name__)


class LeaderLoop(ABC):
    """Loop that runs one round per interval while it is the leader, else tries to become leader.

    `name` is the role's name in the log. Any error, including a lost connection, ends the
    leadership; the loop then tries again.
    """

    def __init__(
        self, database: Database, lock: Lock, *, name: str, interval_seconds: float
    ) -> None:
        self._database = database
        self._lock = lock
        self._name = name
        self._interval_seconds = interval_seconds
        self._postgres = Availability(f"postgres, for {name}")

    @abstractmethod
    async def run_round(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        """Run one round on `connection`, which holds the leader lock."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set, run rounds as the leader, otherwise try to become the leader."""
        while not stopping.is_set():
            try:
                await self._lead_if_elected(stopping)
            except Exception as error:  # noqa: BLE001 the loop goes on after any error
                self._postgres.mark_unavailable(error)
            await wait_for_event(stopping, self._interval_seconds)

    def _record_response(self) -> None:
        """Record that Postgres responded to an attempt to become leader."""
        self._postgres.mark_available()

    def _end_leadership(self) -> None:
        """Log the end of leadership; subclasses also clear metrics that only a leader exports."""
        log.info("leadership_lost", role=self._name)

    async def _lead_if_elected(self, stopping: asyncio.Event) -> None:
        async with leader_lock(self._database, self._lock) as connection:
            self._record_response()
            if connection is None:
                return
            log.info("leadership_gained", role=self._name)
            try:
                while not stopping.is_set():
                    await self.run_round(connection, stopping)
                    await wait_for_event(stopping, self._interval_seconds)
            finally:
                self._end_leadership()


@asynccontextmanager
async def leader_lock(database: Database, lock: Lock) -> AsyncIterator[AsyncConnection | None]:
    """Yield a connection that holds `lock`, or None if another process holds the lock.

    The leader uses this same connection for its work: if the connection breaks, the lock is
    released, and the former leader cannot change any more rows.
    """
    async with database.statement(long_lived=True) as connection:
        if not await try_lock(connection, lock):
            yield None
            return
        try:
            yield connection
        finally:
            # Back in the pool the connection would keep the lock.
            await connection.invalidate()
