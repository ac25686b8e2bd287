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
    counts only where work was waiting: call `mark_idle` before waiting for some.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._intervals: deque[tuple[bool, WorkInterval]] = deque()
        self._idle = True
        self._last_end: DeviceMark | None = None
        self._busy_seconds = 0.0
        self._idle_seconds = 0.0

    @contextmanager
    def record_work(self) -> Iterator[WorkInterval]:
        """Count the block as one piece of work."""
        interval = WorkInterval(self._device.mark())
        try:
            yield interval
        finally:
            interval.end = self._device.mark()
            self._intervals.append((self._idle, interval))
            self._idle = False
        self._read()

    def mark_idle(self) -> None:
        """Take note that there is nothing to do; the pause that follows does not count."""
        self._idle = True

    def _read(self) -> None:
        while self._intervals:
            idle, interval = self._intervals[0]
            if interval.end is None or not interval.end.has_passed():
                return
            self._intervals.popleft()
            self._busy_seconds += interval.seconds
            if self._last_end is not None and not idle:
                self._idle_seconds += max(0.0, interval.start.seconds_since(self._last_end))
            self._last_end = interval.end
            if self._busy_seconds + self._idle_seconds >= WINDOW_SECONDS:
                GPU_BUSY_RATIO.set(self.ratio)
                self._busy_seconds = self._idle_seconds = 0.0

    @property
    def ratio(self) -> float:
        """Give the part of the present window in which the device worked, 0 to 1."""
        total = self._busy_seconds + self._idle_seconds
        return self._busy_seconds / total if total else 1.0
