"""How busy the device is while there is work for it."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from common.metrics import GPU_BUSY_RATIO
from worker.generation.batching.device import Device

# Seconds of work over which the ratio is taken.
WINDOW_SECONDS: Final = 10.0

_Time = Callable[[], float | None]


class Busy:
    """Adds up the device's time at work and its pauses between two pieces of it.

    Times come from the device itself: a host that has queued a step has not seen it done. A pause
    counts only where work was waiting: call `rest` before waiting for some.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pieces: deque[tuple[bool, _Time, _Time]] = deque()
        self._rested = True
        self._last_end = 0.0
        self._working = 0.0
        self._pausing = 0.0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count the block as one piece of work."""
        start = self._device.mark()
        yield
        self._pieces.append((self._rested, start, self._device.mark()))
        self._rested = False
        self._read()

    def rest(self) -> None:
        """Take note that there is nothing to do; the pause that follows does not count."""
        self._rested = True

    def _read(self) -> None:
        while self._pieces:
            rested, start_of, end_of = self._pieces[0]
            start, end = start_of(), end_of()
            if start is None or end is None:
                return
            self._pieces.popleft()
            self._working += end - start
            self._pausing += 0.0 if rested else max(0.0, start - self._last_end)
            self._last_end = end
            if self._working + self._pausing >= WINDOW_SECONDS:
                GPU_BUSY_RATIO.set(self.ratio)
                self._working = self._pausing = 0.0

    @property
    def ratio(self) -> float:
        """Give the part of the present window in which the device worked, 0 to 1."""
        whole = self._working + self._pausing
        return self._working / whole if whole else 1.0
