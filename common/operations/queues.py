"""Queues: what waits, what runs and who works."""

from common.database import Database
from common.repositories.queues import QueueRecord, read_queues


async def list_queues(database: Database, *, silent_seconds: float) -> list[QueueRecord]:
    """Give every queue anybody uses or serves; workers silent for longer do not count."""
    async with database.statement() as connection:
        return await read_queues(connection, silent_seconds=silent_seconds)
