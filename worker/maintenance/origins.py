"""Deriving the books of sending anew, in every sweep."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.repositories.deliveries.origins import refresh_due
from common.postgres.repositories.deliveries.recount import (
    count_open_breakers,
    delete_idle_origins,
    recount_sending,
)
from common.runtime.metrics import BREAKERS_OPEN

# A line that has been idle for so long is forgotten, with the little that was counted.
IDLE_SECONDS: Final = 3600.0
FORGOTTEN: Final = 500  # in one sweep, so that whoever names a new host with each job costs little


async def maintain_origins(connection: AsyncConnection, *, per_origin: int) -> bool:
    """Correct counters, wake who waits unheard, forget idle lines; say whether any was woken."""
    await recount_sending(connection, per_origin=per_origin)
    woken = await refresh_due(connection)
    await delete_idle_origins(connection, seconds=IDLE_SECONDS, limit=FORGOTTEN)
    BREAKERS_OPEN.set(await count_open_breakers(connection))
    return woken > 0
