"""The cancellation signal: whoever cancels a job says so, and its worker looks at the row.

The signal carries no fact. A worker that hears of a job it holds asks the rows about its claims;
one that hears nothing asks them with its next heartbeat.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from common.messaging.listener import ChannelListener, announce, parse_prefix

CHANNEL: Final = "infill:canceled"


async def announce_canceled(redis: "Redis", file_prefix: UUID) -> None:
    """Tell all workers that a job was canceled, which one of them may hold."""
    await announce(redis, CHANNEL, file_prefix)


class CancellationListener(ChannelListener):
    """Tells a worker which jobs were canceled; None where some may have been that nobody heard."""

    def __init__(self, redis: "Redis", on_canceled: Callable[[UUID | None], None]) -> None:
        super().__init__(redis, CHANNEL)
        self._on_canceled = on_canceled

    def _on_message(self, data: bytes) -> None:
        prefix = parse_prefix(data)
        if prefix is not None:
            self._on_canceled(prefix)

    async def _on_subscribed(self) -> None:
        self._on_canceled(None)

    async def _on_unavailable(self) -> None:
        """Leave it to the heartbeat."""
