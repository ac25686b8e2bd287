"""Who is at work."""

from collections.abc import Sequence

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import Worker


async def record_worker_heartbeat(
    connection: AsyncConnection, name: str, queues: Sequence[str]
) -> None:
    """Note that a worker lives and which queues it serves."""
    fresh = insert(Worker).values(name=name, queues=list(queues))
    await connection.execute(
        fresh.on_conflict_do_update(
            index_elements=[Worker.name],
            set_={"seen_at": func.now(), "queues": fresh.excluded.queues},
        )
    )


async def remove_worker(connection: AsyncConnection, name: str) -> None:
    """Note that a worker has left."""
    await connection.execute(delete(Worker).where(Worker.name == name))
