"""The completion signal, which makes gateways respond to callers waiting for a job."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import structlog
from redis.asyncio import Redis

from common.messaging.listener import ChannelListener, announce, parse_prefix

CHANNEL: Final = "infill:ended"

log = structlog.get_logger(__name__)


async def announce_ended(redis: "Redis", file_prefix: UUID) -> None:
    """Publish a completion signal, which tells all gateways that a job has ended."""
    await announce(redis, CHANNEL, file_prefix)


class CompletionListener(ChannelListener):
    """Gateway-side listener that wakes callers when their jobs end; one subscription per process.

    While Redis is down, and once after each (re)subscription, `find_ended` queries Postgres for all
    awaited jobs at once.
    """

    def __init__(
        self, redis: "Redis", find_ended: Callable[[Collection[UUID]], Awaitable[set[UUID]]]
    ) -> None:
        super().__init__(redis, CHANNEL)
        self._find_ended = find_ended
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._closing = False

    @property
    def is_closing(self) -> bool:
        """Whether the process is shutting down, so that callers do not wait any more."""
        return self._closing

    @contextmanager
    def expect(self, file_prefix: UUID) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the job ends.

        Enter the context before the job is recorded, so that the signal cannot be missed.
        """
        event = asyncio.Event()
        if self._closing:
            event.set()
        self._waiting[file_prefix].add(event)
        try:
            yield event
        finally:
            self._waiting[file_prefix].discard(event)
            if not self._waiting[file_prefix]:
                del self._waiting[file_prefix]

    def wake_all(self) -> None:
        """Wake all callers because the process is shutting down; later callers do not wait."""
        self._closing = True
        self._wake(set(self._waiting))

    def _on_message(self, data: bytes) -> None:
        self._wake(_prefixes(data))

    async def _on_subscribed(self) -> None:
        if not self._waiting:
            return
        try:
            self._wake(await self._find_ended(list(self._waiting)))
        except Exception as error:  # noqa: BLE001 tried again in a moment
            log.warning("completion_fallback_failed", error=type(error).__name__)

    async def _on_unavailable(self) -> None:
        await self._on_subscribed()

    def _wake(self, ended: set[UUID]) -> None:
        for file_prefix in ended:
            for event in self._waiting.get(file_prefix, ()):
                event.set()


def _prefixes(data: bytes) -> set[UUID]:
    prefix = parse_prefix(data)
    return set() if prefix is None else {prefix}
