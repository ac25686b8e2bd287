"""Single-flight cache: concurrent requests for a key share one read, whose value is cached."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from common.runtime.clock import monotonic

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reading(Generic[Value]):
    """A value just read; it is fresh for `fresh_seconds` from the start of the read."""

    value: Value
    fresh_seconds: float


@dataclass(frozen=True, slots=True)
class CachedValue(Generic[Value]):
    """A cached value; `read_at` is the monotonic time in seconds when its read started."""

    value: Value
    read_at: float
    fresh_seconds: float

    @property
    def age_seconds(self) -> float:
        """Seconds since the read of the value started."""
        return monotonic() - self.read_at


def put_bounded(entries: dict[Key, Value], key: Key, value: Value, *, capacity: int) -> None:
    """Store a value as the newest entry, and evict the oldest entry if there are too many."""
    entries.pop(key, None)
    entries[key] = value
    if len(entries) > capacity:
        del entries[next(iter(entries))]  # dicts keep their order


class SingleFlightCache(Generic[Key, Value]):
    """Cache of the values that `read` returns, with at most `capacity` entries.

    None is cached as a negative result, with a separate limit, `negative_capacity`, so that a flood
    of unknown keys cannot evict known ones. Cancelling one caller does not cancel the read for the
    others. If a read fails, its error is raised in all callers that share the read, and the
    cache is unchanged.
    """

    def __init__(
        self,
        read: Callable[[Key], Awaitable[Reading[Value]]],
        *,
        capacity: int,
        negative_capacity: int = 0,
    ) -> None:
        self._read = read
        self._capacity = capacity
        self._negative_capacity = negative_capacity
        self._values: dict[Key, CachedValue[Value]] = {}
        self._negatives: dict[Key, CachedValue[Value]] = {}
        self._reads: dict[Key, asyncio.Task[CachedValue[Value]]] = {}

    async def get(self, key: Key, *, max_age: float = 1.0) -> CachedValue[Value]:
        """Return a fresh value for the key, reading it if none is cached.

        `max_age` is the fraction of `fresh_seconds` up to which a cached value is accepted.
        """
        cached = self._values.get(key) or self._negatives.get(key)
        if cached is not None and cached.age_seconds < cached.fresh_seconds * max_age:
            return cached
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._read_and_store(key))
            read.add_done_callback(lambda done: self._end_read(key, done))
        return await asyncio.shield(read)

    def latest(self, key: Key) -> Value | None:
        """Return the last value read for a key, even if it is not fresh; None if there is none."""
        cached = self._values.get(key)
        return None if cached is None else cached.value

    async def _read_and_store(self, key: Key) -> CachedValue[Value]:
        read_at = monotonic()
        reading = await self._read(key)
        cached = CachedValue(reading.value, read_at, reading.fresh_seconds)
        self._values.pop(key, None)
        self._negatives.pop(key, None)
        if cached.value is None:
            put_bounded(self._negatives, key, cached, capacity=self._negative_capacity)
        else:
            put_bounded(self._values, key, cached, capacity=self._capacity)
        return cached

    def _end_read(self, key: Key, read: asyncio.Task[CachedValue[Value]]) -> None:
        del self._reads[key]
        if not read.cancelled():
            read.exception()  # asyncio would log one that no caller was left to receive
