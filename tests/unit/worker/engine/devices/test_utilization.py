"""The busy ratio, from times the device tells."""

from dataclasses import dataclass

import pytest

from common.runtime.metrics import GPU_BUSY_RATIO
from worker.engine.devices.device import Cpu
from worker.engine.devices.utilization import WINDOW_SECONDS, DeviceUtilization


class Told(Cpu):
    """A device whose marks have the times of a list; `known` of them it has come by."""

    def __init__(self, times: list[float], known: int | None = None) -> None:
        super().__init__()
        self.times = times
        self.known = len(times) if known is None else known
        self._marks = 0

    def mark(self) -> "Later":
        self._marks += 1
        return Later(self, self._marks - 1)


@dataclass(frozen=True)
class Later:
    """A mark the device comes by when the test says so."""

    device: Told
    index: int

    def has_passed(self) -> bool:
        return self.index < self.device.known

    def seconds_since(self, earlier: "Later") -> float:
        return self.device.times[self.index] - self.device.times[earlier.index]


def work(utilization: DeviceUtilization, intervals: int) -> None:
    for _ in range(intervals):
        with utilization.record_work():
            pass


def test_pauses_between_two_pieces_count() -> None:
    utilization = DeviceUtilization(Told([0, 3, 4, 7]))
    assert utilization.ratio == 1
    work(utilization, 2)
    assert utilization.ratio == pytest.approx(6 / 7)


def test_a_rest_for_want_of_work_does_not() -> None:
    utilization = DeviceUtilization(Told([0, 3, 100, 103]))
    work(utilization, 1)
    utilization.mark_idle()
    work(utilization, 1)
    assert utilization.ratio == 1


def test_pieces_under_way_count_when_they_are_done() -> None:
    device = Told([0, 3, 4, 7], known=3)
    utilization = DeviceUtilization(device)
    work(utilization, 1)
    work(utilization, 1)
    assert utilization.ratio == 1
    device.known = 4
    device.times += [7, 8]
    work(utilization, 1)
    assert utilization.ratio == pytest.approx(6 / 7)


def test_a_full_window_is_shown_and_the_next_begins() -> None:
    utilization = DeviceUtilization(
        Told([0, WINDOW_SECONDS / 2, WINDOW_SECONDS, 1.5 * WINDOW_SECONDS])
    )
    work(utilization, 2)
    assert GPU_BUSY_RATIO._value.get() == pytest.approx(2 / 3)
    assert utilization.ratio == 1
