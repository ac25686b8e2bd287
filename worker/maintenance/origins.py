"""Deriving the books of sending anew, in every sweep."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.repositories.deliveries.origins import note_due
from common.postgres.repositories.deliveries.recount import (
    count_open_breakers,
    forget_idle_lines,
    recount_sending,
)
from common.runtime.metrics import BREAKERS_OPEN

# A line that has been idle for so long is forgotten, with the little that was counted.
IDLE_SECONDS: Final = 3600.0
FORGOTTEN: Final = 500  # in one sweep, so that whoever names a new host with each job costs little


async def keep_lines(connection: AsyncConnection, *, per_origin: int) -> bool:
    """Correct counters, wake who waits unheard, forget idle lines; say whether any was woken."""
    await recount_sending(connection, per_origin=per_origin)
    woken = await note_due(connection)
    await forget_idle_lines(connection, seconds=IDLE_SECONDS, limit=FORGOTTEN)
    BREAKERS_OPEN.set(await count_open_breakers(connection))
    return woken > 0
