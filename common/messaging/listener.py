"""Hearing one channel of Redis for as long as the process lives, whatever becomes of Redis."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from common.runtime.availability import Availability

# How soon we try again while Redis is away.
FALLBACK_SECONDS: Final = 0.5
# After so long a silence Redis is asked to say something; after as long again it counts as away.
QUIET_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


async def announce(redis: "Redis", channel: str, file_prefix: UUID) -> None:
    """Tell whoever listens to `channel` of a job; a lost signal is made good by the rows."""
    try:
        await redis.publish(channel, file_prefix.bytes)
    except (RedisError, OSError) as error:
        log.warning("signal_lost", channel=channel, error=type(error).__name__)


class ChannelListener(ABC):
    """One subscription per process; what each kind of listener does is in the three methods."""

    def __init__(self, redis: "Redis", channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._availability = Availability("redis")

    @abstractmethod
    def _on_message(self, data: bytes) -> None:
        """Take a signal, which may be none of ours: it must not end the listening."""

    @abstractmethod
    async def _on_subscribed(self) -> None:
        """Make good what was announced before this moment; raises nothing."""

    @abstractmethod
    async def _on_unavailable(self) -> None:
        """Do without Redis; called again and again while it is away; raises nothing."""

    async def run(self) -> None:
        """Listen until canceled."""
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
                elif message["type"] == "subscribe":  # perhaps not for the first time
                    self._availability.mark_available()
                    await self._on_subscribed()


def parse_prefix(data: bytes) -> UUID | None:
    """Read a signal; None for one that is none of ours."""
    try:
        return UUID(bytes=data)
    except ValueError:
        log.warning("signal_unreadable", size=len(data))
        return None


async def _next_message(subscription: PubSub) -> dict[str, Any]:
    """Wait for the next message; a line gone dead without a word is found out.

    Raises:
        TimeoutError: Redis does not answer.
    """
    message = await subscription.get_message(timeout=QUIET_SECONDS)
    if message is None and not _is_canceled():
        await subscription.ping()
        message = await subscription.get_message(timeout=QUIET_SECONDS)
    if message is None:
        raise TimeoutError
    answered: dict[str, Any] = message
    return answered


def _is_canceled() -> bool:
    """Tell whether this task was canceled; met by a time-out of the client, that is not raised."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
