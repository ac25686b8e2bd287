"""A subscription to a Redis channel that survives Redis outages."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from common.runtime.availability import Availability

# Between two tries to subscribe while Redis is unavailable.
FALLBACK_SECONDS: Final = 0.5
# After this long without a message Redis is pinged; after as long again it counts as unavailable.
QUIET_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


async def announce(redis: "Redis", channel: str, file_prefix: UUID) -> None:
    """Publish a job's file prefix on `channel`; a lost signal only delays the listeners."""
    try:
        await redis.publish(channel, file_prefix.bytes)
    except (RedisError, OSError) as error:
        log.warning("signal_lost", channel=channel, error=type(error).__name__)


class ChannelListener(ABC):
    """Base class of listeners on one Redis channel; subclasses implement three callbacks."""

    def __init__(self, redis: "Redis", channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._availability = Availability("redis")

    @abstractmethod
    def _on_message(self, data: bytes) -> None:
        """Handle a message, which may be malformed; must not raise."""

    @abstractmethod
    async def _on_subscribed(self) -> None:
        """Find changes whose signals were missed before the subscription; must not raise."""

    @abstractmethod
    async def _on_unavailable(self) -> None:
        """Work without Redis; called repeatedly while Redis is down; must not raise."""

    async def run(self) -> None:
        """Listen and resubscribe after outages, until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                if _is_canceled():
                    raise asyncio.CancelledError from error
                self._availability.mark_unavailable(error)
            await self._on_unavailable()
            await asyncio.sleep(FALLBACK_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=False) as subscription:
            await subscription.subscribe(self._channel)
            while True:
                message = await _next_message(subscription)
                if message["type"] == "message":
                    self._on_message(message["data"])
                elif message["type"] == "subscribe":  # again after every reconnection
                    self._availability.mark_available()
                    await self._on_subscribed()


def parse_prefix(data: bytes) -> UUID | None:
    """Return the job's file prefix from a signal, or None if the signal is malformed."""
    try:
        return UUID(bytes=data)
    except ValueError:
        log.warning("signal_unreadable", size=len(data))
        return None


async def _next_message(subscription: PubSub) -> dict[str, Any]:
    """Return the next message; if none arrives for a while, ping Redis to detect a dead connection.

    Raises:
        TimeoutError: Redis did not respond to the ping.
    """
    message = await subscription.get_message(timeout=QUIET_SECONDS)
    if message is None and not _is_canceled():
        await subscription.ping()
        message = await subscription.get_message(timeout=QUIET_SECONDS)
    if message is None:
        raise TimeoutError
    received: dict[str, Any] = message
    return received


def _is_canceled() -> bool:
    """Return whether this task was cancelled, which a timeout of the Redis client may hide."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
