"""Record which workers are alive, and which queues they serve."""

from collections.abc import Sequence

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import Worker


async def record_worker_heartbeat(
    connection: AsyncConnection, name: str, queues: Sequence[str]
) -> None:
    """Record that a worker is alive now, and which queues it serves."""
    new = insert(Worker).values(name=name, queues=list(queues))
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=[Worker.name],
            set_={"seen_at": func.now(), "queues": new.excluded.queues},
        )
    )


async def delete_worker(connection: AsyncConnection, name: str) -> None:
    """Delete the row of a worker that shuts down, so that it is no longer counted in estimates."""
    await connection.execute(delete(Worker).where(Worker.name == name))
