"""The completion signal: whoever ends a job says so, and the gateways wake its waiting callers."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

CHANNEL: Final = "infill:ended"
# How soon a caller is answered from the rows while Redis is away, and how soon we try it again.
FALLBACK_SECONDS: Final = 0.5
# After so long a silence Redis is asked to say something; after as long again it counts as away.
QUIET_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


async def announce_ended(redis: "Redis", file_prefix: UUID) -> None:
    """Tell all gateways that a job has ended; a lost signal is made good by the rows."""
    try:
        await redis.publish(CHANNEL, file_prefix.bytes)
    except (RedisError, OSError) as error:
        log.warning("completion_signal_lost", error=type(error).__name__)


class CompletionListener:
    """Wakes callers when their jobs end: one subscription per process, however many wait.

    While Redis is away, and once whenever it comes back, one query asks the rows about all
    callers together (`find_ended`).
    """

    def __init__(
        self, redis: "Redis", find_ended: Callable[[Collection[UUID]], Awaitable[set[UUID]]]
    ) -> None:
        self._redis = redis
        self._find_ended = find_ended
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._letting_go = False

    @contextmanager
    def expect(self, file_prefix: UUID) -> Iterator[asyncio.Event]:
        """Give the event that is set when this job ends; enter before the job is recorded."""
        event = asyncio.Event()
        if self._letting_go:
            event.set()
        self._waiting[file_prefix].add(event)
        try:
            yield event
        finally:
            self._waiting[file_prefix].discard(event)
            if not self._waiting[file_prefix]:
                del self._waiting[file_prefix]

    def let_go(self) -> None:
        """Wake everybody, now and from now on: this process is ending."""
        self._letting_go = True
        self._wake(set(self._waiting))

    async def run(self) -> None:
        """Listen until canceled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                if _is_canceled():
                    raise asyncio.CancelledError from error
                log.warning("completion_listener_disconnected", error=type(error).__name__)
            await self._ask_rows()
            await asyncio.sleep(FALLBACK_SECONDS)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=False) as subscription:
            await subscription.subscribe(CHANNEL)
            while True:
                message = await _next_message(subscription)
                if message["type"] == "message":
                    self._wake(_prefixes(message["data"]))
                elif message["type"] == "subscribe":
                    # (Re)subscribed: what was announced before this moment was not heard.
                    await self._ask_rows()

    async def _ask_rows(self) -> None:
        if not self._waiting:
            return
        try:
            self._wake(await self._find_ended(list(self._waiting)))
        except Exception as error:  # noqa: BLE001 the rows are asked again in a moment
            log.warning("completion_fallback_failed", error=type(error).__name__)

    def _wake(self, ended: set[UUID]) -> None:
        for file_prefix in ended:
            for event in self._waiting.get(file_prefix, ()):
                event.set()


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


def _prefixes(data: bytes) -> set[UUID]:
    """Read a signal; one that is none of ours must not end the listening for all."""
    try:
        return {UUID(bytes=data)}
    except ValueError:
        log.warning("completion_signal_not_understood", size=len(data))
        return set()
