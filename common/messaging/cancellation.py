"""The cancellation signal: makes the worker that runs a canceled job check its claim at once.

A worker that misses the signal finds the lost claim with its next heartbeat.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from common.messaging.listener import ChannelListener, announce, parse_prefix

CHANNEL: Final = "infill:canceled"


async def announce_canceled(redis: "Redis", file_prefix: UUID) -> None:
    """Tell all workers that a job was canceled; one of them may be running it."""
    await announce(redis, CHANNEL, file_prefix)


class CancellationListener(ChannelListener):
    """Listener that calls `on_canceled` for each canceled job, and with None after an outage."""

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
        """Do nothing: the heartbeat finds canceled jobs."""
