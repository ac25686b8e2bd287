"""Queues that serve their clients in turn, so that a burst of one client delays no other.

Without them, a thousand pieces of work that become ready together run in one iteration of the event
loop, and every request waits for them at each of its own steps.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from common.runtime.clock import monotonic

T = TypeVar("T")
Work = Callable[[], None]


class RoundRobin(Generic[T]):
    """Queue of items of several owners, taken from one owner after another."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[T]] = {}

    def __bool__(self) -> bool:
        """Return whether an item is waiting."""
        return bool(self._waiting)

    def put(self, owner: Hashable, item: T) -> None:
        """Append an item to those of its owner."""
        self._waiting.setdefault(owner, deque()).append(item)

    def take(self) -> T:
        """Remove and return the oldest item of the next owner."""
        owner = next(iter(self._waiting))
        items = self._waiting.pop(owner)
        item = items.popleft()
        if items:
            self._waiting[owner] = items  # behind the other owners
        return item


class FairTurns:
    """Queue of callbacks, of which a few run in each iteration of the event loop."""

    def __init__(self, per_iteration: int) -> None:
        self._per_iteration = per_iteration
        self._waiting: RoundRobin[Work] = RoundRobin()
        self._run = 0  # in this iteration
        self._is_scheduled = False

    def run(self, owner: Hashable, work: Work) -> None:
        """Run `work` now, or in a later iteration if this one has run enough."""
        if self._run < self._per_iteration and not self._waiting:
            self._run += 1
            work()
        else:
            self._waiting.put(owner, work)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        self._run = 0
        while self._waiting and self._run < self._per_iteration:
            self._run += 1
            self._waiting.take()()
        self._is_scheduled = self._run > 0
        if self._is_scheduled:
            asyncio.get_running_loop().call_soon(self._continue)


class FairRate:
    """Queue of callbacks, of which `per_second` run in a second, after a burst of `burst`."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._refilled_at = monotonic()
        self._waiting: RoundRobin[Work] = RoundRobin()

    def run(self, owner: Hashable, work: Work) -> None:
        """Run `work` now if the rate allows it, or later."""
        if self._waiting:
            self._waiting.put(owner, work)
        elif self._take_token():
            work()
        else:
            self._waiting.put(owner, work)
            self._continue_later()

    def _take_token(self) -> bool:
        now = monotonic()
        earned = (now - self._refilled_at) * self._per_second
        self._tokens = min(self._burst, self._tokens + earned)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _continue_later(self) -> None:
        asyncio.get_running_loop().call_later(1 / self._per_second, self._continue)

    def _continue(self) -> None:
        while self._waiting and self._take_token():
            self._waiting.take()()
        if self._waiting:
            self._continue_later()
