"""How busy the device is while there is work for it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from common.runtime.metrics import GPU_BUSY_RATIO
from worker.engine.devices.device import Device, DeviceMark

# Seconds of work over which the ratio is taken.
WINDOW_SECONDS: Final = 10.0


@dataclass(slots=True)
class WorkInterval:
    """One piece of the device's work; `end` is known when the block that does it is left."""

    start: DeviceMark
    end: DeviceMark | None = None

    @property
    def seconds(self) -> float:
        """Give its time on the device, which must have done it."""
        return 0.0 if self.end is None else self.end.seconds_since(self.start)


class DeviceUtilization:
    """Adds up the device's time at work and its pauses between two pieces of it.

    Times come from the device itself: a host that has queued a step has not seen it done. A pause
    counts only where work was waiting: call `rest` before waiting for some.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pieces: deque[tuple[bool, WorkInterval]] = deque()
        self._rested = True
        self._last_end: DeviceMark | None = None
        self._working = 0.0
        self._pausing = 0.0

    @contextmanager
    def at_work(self) -> Iterator[WorkInterval]:
        """Count the block as one piece of work."""
        piece = WorkInterval(self._device.mark())
        try:
            yield piece
        finally:
            piece.end = self._device.mark()
            self._pieces.append((self._rested, piece))
            self._rested = False
        self._read()

    def rest(self) -> None:
        """Take note that there is nothing to do; the pause that follows does not count."""
        self._rested = True

    def _read(self) -> None:
        while self._pieces:
            rested, piece = self._pieces[0]
            if piece.end is None or not piece.end.is_past():
                return
            self._pieces.popleft()
            self._working += piece.seconds
            if self._last_end is not None and not rested:
                self._pausing += max(0.0, piece.start.seconds_since(self._last_end))
            self._last_end = piece.end
            if self._working + self._pausing >= WINDOW_SECONDS:
                GPU_BUSY_RATIO.set(self.ratio)
                self._working = self._pausing = 0.0

    @property
    def ratio(self) -> float:
        """Give the part of the present window in which the device worked, 0 to 1."""
        whole = self._working + self._pausing
        return self._working / whole if whole else 1.0
