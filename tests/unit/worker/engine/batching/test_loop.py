"""The device thread and its callers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from common.domain.errors import GenerationError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import RecordingCallback, StepperHarness
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.loop import DeviceLoop
from worker.engine.devices.device import Cpu

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

DEADLINE_SECONDS = 30.0
REQUEST = a_request(Endpoint.TEXT2IMG)


@pytest.fixture
def loop() -> Iterator[DeviceLoop]:
    running = DeviceLoop(Cpu(), max_batch=8)
    yield running
    running.close()


class Holding(RecordingCallback):
    """Blocks the loop at the request's start until released."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = threading.Event()
        self.go = threading.Event()

    def on_start(self) -> None:
        self.holds.set()
        assert self.go.wait(DEADLINE_SECONDS)


def test_several_threads_generate_at_once(loop: DeviceLoop, stepping: StepperHarness) -> None:
    with ThreadPoolExecutor(4) as threads:
        prepared_requests = [stepping.prepare(REQUEST) for _ in range(8)]
        outputs = list(
            threads.map(
                lambda prepared: loop.generate(prepared, RecordingCallback()), prepared_requests
            )
        )
    assert [image.size for output in outputs for image in output.images] == [(64, 64)] * 8


def test_tasks_run_on_the_device_thread_between_steps(
    loop: DeviceLoop, stepping: StepperHarness
) -> None:
    holding = Holding()
    with ThreadPoolExecutor(2) as threads:
        generating = threads.submit(loop.generate, stepping.prepare(REQUEST), holding)
        assert holding.holds.wait(DEADLINE_SECONDS)
        task = threads.submit(loop.run, threading.current_thread)
        assert not task.done()
        holding.go.set()
        assert task.result(DEADLINE_SECONDS).name == "device"
        assert generating.result(DEADLINE_SECONDS)


def test_an_error_in_a_task_is_raised_in_its_caller(
    loop: DeviceLoop, stepping: StepperHarness
) -> None:
    def fall() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run(fall)
    assert loop.generate(stepping.prepare(REQUEST), RecordingCallback())


def test_a_bug_in_the_loop_fails_all_waiting_callers(
    loop: DeviceLoop, stepping: StepperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall() -> None:
        raise ZeroDivisionError("inner")

    with monkeypatch.context() as broken:
        broken.setattr(loop._stepper, "run_once", fall)  # no input is known that leads to it
        with pytest.raises(
            GenerationError,
            match=r"^the model failed with an unexpected error, which has been logged$",
        ):
            loop.generate(stepping.prepare(REQUEST), RecordingCallback())
    assert loop.generate(stepping.prepare(REQUEST), RecordingCallback())


def test_closing_fails_active_requests(stepping: StepperHarness) -> None:
    loop, holding = DeviceLoop(Cpu(), max_batch=8), Holding()
    with ThreadPoolExecutor(2) as threads:
        generating = threads.submit(loop.generate, stepping.prepare(REQUEST), holding)
        assert holding.holds.wait(DEADLINE_SECONDS)
        closing = threads.submit(loop.close)
        holding.go.set()
        closing.result(DEADLINE_SECONDS)
        with pytest.raises(GenerationError, match="the worker is shutting down"):
            generating.result(DEADLINE_SECONDS)
    with pytest.raises(GenerationError, match="the worker is shutting down"):
        loop.generate(stepping.prepare(REQUEST), RecordingCallback())


def test_a_loop_that_never_started_can_be_closed() -> None:
    DeviceLoop(Cpu(), max_batch=8).close()


def test_the_peak_memory_of_a_block_is_measured() -> None:
    device = Cpu()
    with device.measure_peak() as peak:
        held = torch.ones(64_000_000, dtype=torch.uint8)
    assert held.numel() * 0.9 < peak.bytes < held.numel() * 2
    assert device.free_bytes() > 0
