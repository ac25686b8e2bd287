"""Keeping what was read for a short time, and reading it once for all who ask meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from common.runtime.clock import monotonic

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class CachedValue(Generic[Value]):
    """What was read, and when."""

    value: Value
    read_at: float

    @property
    def age_seconds(self) -> float:
        """Give how long ago it was read."""
        return monotonic() - self.read_at


@dataclass(slots=True)
class _Shelf(Generic[Value]):
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    kept: CachedValue[Value] | None = None


def remember(kept: dict[Key, Value], key: Key, value: Value, *, most: int) -> None:
    """Keep a value under a new key; of more than `most` the oldest goes."""
    if len(kept) >= most:
        del kept[next(iter(kept))]  # dicts keep their order
    kept[key] = value


class SingleFlightCache(Generic[Key, Value]):
    """The latest readings, `most` of them at most; the one that was asked for first goes first."""

    def __init__(
        self, read: Callable[[Key], Awaitable[Value]], *, fresh_seconds: float, most: int
    ) -> None:
        self._read = read
        self._fresh_seconds = fresh_seconds
        self._most = most
        self._shelves: dict[Key, _Shelf[Value]] = {}

    async def get(self, key: Key) -> CachedValue[Value]:
        """Give a fresh reading; those who come while it is being taken share it."""
        shelf = self._shelf(key)
        async with shelf.reading:
            kept = shelf.kept
            if kept is None or kept.age_seconds >= self._fresh_seconds:
                read_at = monotonic()
                kept = shelf.kept = CachedValue(await self._read(key), read_at)
            return kept

    def known(self, key: Key) -> Value | None:
        """Give the latest reading, fresh or not; None if there is none."""
        shelf = self._shelves.get(key)
        return None if shelf is None or shelf.kept is None else shelf.kept.value

    def _shelf(self, key: Key) -> _Shelf[Value]:
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = _Shelf()
            remember(self._shelves, key, shelf, most=self._most)
        return shelf
