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

    def is_past(self) -> bool:
        return self.index < self.device.known

    def seconds_since(self, earlier: "Later") -> float:
        return self.device.times[self.index] - self.device.times[earlier.index]


def work(busy: DeviceUtilization, pieces: int) -> None:
    for _ in range(pieces):
        with busy.at_work():
            pass


def test_pauses_between_two_pieces_count() -> None:
    busy = DeviceUtilization(Told([0, 3, 4, 7]))
    assert busy.ratio == 1
    work(busy, 2)
    assert busy.ratio == pytest.approx(6 / 7)


def test_a_rest_for_want_of_work_does_not() -> None:
    busy = DeviceUtilization(Told([0, 3, 100, 103]))
    work(busy, 1)
    busy.rest()
    work(busy, 1)
    assert busy.ratio == 1


def test_pieces_under_way_count_when_they_are_done() -> None:
    device = Told([0, 3, 4, 7], known=3)
    busy = DeviceUtilization(device)
    work(busy, 1)
    work(busy, 1)
    assert busy.ratio == 1
    device.known = 4
    device.times += [7, 8]
    work(busy, 1)
    assert busy.ratio == pytest.approx(6 / 7)


def test_a_full_window_is_shown_and_the_next_begins() -> None:
    busy = DeviceUtilization(Told([0, WINDOW_SECONDS / 2, WINDOW_SECONDS, 1.5 * WINDOW_SECONDS]))
    work(busy, 2)
    assert GPU_BUSY_RATIO._value.get() == pytest.approx(2 / 3)
    assert busy.ratio == 1
