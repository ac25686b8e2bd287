"""Find the sessions that hold a migration up, so that the operator can end them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.database import Database
from common.postgres.errors import is_unavailable

# Within a wait for a lock, whose sessions can only be seen while it lasts.
LOOK_SECONDS: Final = 0.5

# Not the text of their statements, which may contain data of tenants. Postgres hides most of this
# from accounts that may not see it.
_BLOCKERS: Final = text(
    """
    SELECT pid, usename, application_name, state,
        to_char(query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since
    FROM pg_stat_activity
    WHERE pid = ANY (pg_blocking_pids(:backend))
    ORDER BY query_start
    """
)


class LockMonitor:
    """Watches over a second connection which sessions hold the locks that a migration waits for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blockers: Sequence[Any] = ()

    @asynccontextmanager
    async def watching(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Record the sessions that block `connection`, until the end of the block."""
        backend = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        watching = asyncio.create_task(self._watch(backend))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def describe(self) -> str:
        """Return a phrase that names the sessions that last blocked the migration."""
        if not self._blockers:
            return "a lock of another session"
        return "; ".join(
            f"the session with pid {pid} (application {application or 'unknown'}, account "
            f"{account or 'unknown'}, {state or 'state unknown'}, last statement begun "
            f"{'at an unknown time' if since is None else f'{since} UTC'})"
            for pid, account, application, state, since in self._blockers
        )

    async def _watch(self, backend: int) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                async with self._database.statement() as connection:
                    found = (await connection.execute(_BLOCKERS, {"backend": backend})).all()
            except Exception as error:
                if not is_unavailable(error):
                    raise
            else:
                self._blockers = found or self._blockers
