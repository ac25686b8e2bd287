"""The cancellation signal, which makes a worker check its claim of a canceled job at once.

A worker that misses the signal notices the lost claim at its next heartbeat.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from common.messaging.listener import ChannelListener, announce, parse_prefix

CHANNEL: Final = "infill:canceled"


async def announce_canceled(redis: "Redis", file_prefix: UUID) -> None:
    """Publish a cancellation signal to all workers, because one of them may be running the job."""
    await announce(redis, CHANNEL, file_prefix)


class CancellationListener(ChannelListener):
    """Worker-side listener for cancellation signals.

    Calls `on_canceled` with the file prefix of each canceled job, and with None after each
    (re)subscription, when signals may have been missed.
    """

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
        """Do nothing: while Redis is down, the heartbeat finds canceled jobs."""
