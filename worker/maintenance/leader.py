"""Being the one process that does a duty."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.database import Database
from common.postgres.locks import Lock, take_lock


@asynccontextmanager
async def leader_lock(database: Database, lock: Lock) -> AsyncIterator[AsyncConnection | None]:
    """Give the connection that holds `lock` while the block lasts; None if somebody else does.

    The duty is done over this very connection: when it dies the lock is free, and nothing more
    can be done over it.
    """
    async with database.statement(long_lived=True) as connection:
        if not await take_lock(connection, lock):
            yield None
            return
        try:
            yield connection
        finally:
            # Back in the pool the connection would keep the lock.
            await connection.invalidate()
