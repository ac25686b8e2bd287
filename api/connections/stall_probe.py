"""Measure how long the event loop is blocked, by the delay of a timer."""

import asyncio
from collections import deque
from typing import Final

from api.metrics import EVENT_LOOP_STALL_SECONDS
from common.runtime.clock import monotonic

PERIOD_SECONDS: Final = 0.05
WINDOW_SECONDS: Final = 60.0


class LongestStall:
    """Maximum of the stalls in a sliding window; keeps only stalls that can become the maximum."""

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._stalls: deque[tuple[float, float]] = deque()  # (time, seconds), seconds decreasing

    def add(self, seconds: float, now: float) -> float:
        """Record a stall and return the longest one in the window."""
        while self._stalls and self._stalls[-1][1] <= seconds:
            self._stalls.pop()
        self._stalls.append((now, seconds))
        while self._stalls[0][0] <= now - self._window_seconds:
            self._stalls.popleft()
        return self._stalls[0][1]


async def probe_stalls() -> None:
    """Publish the longest stall of the last minute as a metric, until canceled."""
    longest = LongestStall()
    while True:
        expected = monotonic() + PERIOD_SECONDS
        await asyncio.sleep(PERIOD_SECONDS)
        now = monotonic()
        EVENT_LOOP_STALL_SECONDS.set(longest.add(max(0.0, now - expected), now))
