"""The utilization ratio from scripted device times."""

from dataclasses import dataclass

import pytest

from common.runtime.metrics import GPU_BUSY_RATIO
from worker.engine.devices.device import Cpu
from worker.engine.devices.utilization import WINDOW_SECONDS, DeviceUtilization


class ScriptedDevice(Cpu):
    """A device whose marks have the times of a list; the first `known` have been reached."""

    def __init__(self, times: list[float], known: int | None = None) -> None:
        super().__init__()
        self.times = times
        self.known = len(times) if known is None else known
        self._marks = 0

    def mark(self) -> "ScriptedMark":
        self._marks += 1
        return ScriptedMark(self, self._marks - 1)


@dataclass(frozen=True)
class ScriptedMark:
    """A mark that the device reaches when the test decides."""

    device: ScriptedDevice
    index: int

    def has_passed(self) -> bool:
        return self.index < self.device.known

    def seconds_since(self, earlier: "ScriptedMark") -> float:
        return self.device.times[self.index] - self.device.times[earlier.index]


def work(utilization: DeviceUtilization, intervals: int) -> None:
    for _ in range(intervals):
        with utilization.record_work():
            pass


def test_pauses_between_intervals_count_as_idle() -> None:
    utilization = DeviceUtilization(ScriptedDevice([0, 3, 4, 7]))
    assert utilization.ratio == 1
    work(utilization, 2)
    assert utilization.ratio == pytest.approx(6 / 7)


def test_pauses_without_work_do_not_count() -> None:
    utilization = DeviceUtilization(ScriptedDevice([0, 3, 100, 103]))
    work(utilization, 1)
    utilization.mark_idle()
    work(utilization, 1)
    assert utilization.ratio == 1


def test_intervals_count_when_the_device_has_finished_them() -> None:
    device = ScriptedDevice([0, 3, 4, 7], known=3)
    utilization = DeviceUtilization(device)
    work(utilization, 1)
    work(utilization, 1)
    assert utilization.ratio == 1
    device.known = 4
    device.times += [7, 8]
    work(utilization, 1)
    assert utilization.ratio == pytest.approx(6 / 7)


def test_a_full_window_sets_the_metric_and_starts_the_next() -> None:
    utilization = DeviceUtilization(
        ScriptedDevice([0, WINDOW_SECONDS / 2, WINDOW_SECONDS, 1.5 * WINDOW_SECONDS])
    )
    work(utilization, 2)
    assert GPU_BUSY_RATIO._value.get() == pytest.approx(2 / 3)
    assert utilization.ratio == 1
