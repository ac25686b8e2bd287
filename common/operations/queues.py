"""Queues: what waits, what runs and who works."""

from common.operations.paging import Listed
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.queues import QueueRecord, read_queues


async def list_queues(database: Database, *, silent_seconds: float) -> Listed[QueueRecord]:
    """Give every queue anybody uses or serves; workers silent for longer do not count."""
    async with database.statement() as connection:
        return Listed(await read_queues(connection, silent_seconds=silent_seconds))
