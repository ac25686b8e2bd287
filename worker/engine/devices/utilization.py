"""Measure the fraction of time in which the device is busy while there is work."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from common.runtime.metrics import GPU_BUSY_RATIO
from worker.engine.devices.device import Device, DeviceMark

# Seconds over which the ratio is computed.
WINDOW_SECONDS: Final = 10.0


@dataclass(slots=True)
class WorkInterval:
    """An interval of device work; `end` is set when the recorded block ends."""

    start: DeviceMark
    end: DeviceMark | None = None

    @property
    def seconds(self) -> float:
        """Return the interval's device time in seconds; the device must have passed its end."""
        return 0.0 if self.end is None else self.end.seconds_since(self.start)


class DeviceUtilization:
    """Measures the fraction of time in which the device is busy while there is work.

    Times are measured by marks on the device, because the host runs ahead of the device. A pause
    between two blocks counts as idle time, unless `mark_idle` was called because there was no work.
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
        """Yield a `WorkInterval` and record the block as one interval of device work."""
        interval = WorkInterval(self._device.mark())
        try:
            yield interval
        finally:
            interval.end = self._device.mark()
            self._intervals.append((self._idle, interval))
            self._idle = False
        self._read()

    def mark_idle(self) -> None:
        """Record that there is no work, so that the pause until the next block is not counted."""
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
        """Return the fraction of time (0 to 1) in which the device was busy in the current window.

        The ratio is 1 if nothing has been recorded in the window yet.
        """
        total = self._busy_seconds + self._idle_seconds
        return self._busy_seconds / total if total else 1.0
