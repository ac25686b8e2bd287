"""The cancellation signal: whoever cancels a job says so, and its worker looks at the row.

The signal carries no fact. A worker that hears of a job it holds asks the rows about its claims;
one that hears nothing asks them with its next heartbeat.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from common.messaging.listener import ChannelListener, announce, prefix_in

CHANNEL: Final = "infill:canceled"


async def announce_canceled(redis: "Redis", file_prefix: UUID) -> None:
    """Tell all workers that a job was canceled, which one of them may hold."""
    await announce(redis, CHANNEL, file_prefix)


class CancellationListener(ChannelListener):
    """Tells a worker which jobs were canceled; None where some may have been that nobody heard."""

    def __init__(self, redis: "Redis", canceled: Callable[[UUID | None], None]) -> None:
        super().__init__(redis, CHANNEL)
        self._canceled = canceled

    def _heard(self, data: bytes) -> None:
        prefix = prefix_in(data)
        if prefix is not None:
            self._canceled(prefix)

    async def _subscribed(self) -> None:
        self._canceled(None)

    async def _missed(self) -> None:
        """Leave it to the heartbeat."""
