"""The loop's thread, and those who wait for it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from common.domain.errors import GenerationError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.batching.harness import Floor, Looker
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.batching.loop import DeviceLoop
from worker.engine.devices.device import Cpu

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

DEADLINE_SECONDS = 30.0
REQUEST = a_request(Endpoint.TEXT2IMG)


@pytest.fixture
def loop() -> Iterator[DeviceLoop]:
    running = DeviceLoop(Cpu(), most=8)
    yield running
    running.close()


class Holding(Looker):
    """Holds the loop at its first step until let go."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = threading.Event()
        self.go = threading.Event()

    def started(self) -> None:
        self.holds.set()
        assert self.go.wait(DEADLINE_SECONDS)


def test_several_threads_are_served_at_once(loop: DeviceLoop, floor: Floor) -> None:
    with ThreadPoolExecutor(4) as threads:
        recipes = [floor.recipe(REQUEST) for _ in range(8)]
        made = list(threads.map(lambda recipe: loop.draw(recipe, Looker()), recipes))
    assert all(each.copies[0].wait()[1] for each in made)


def test_errands_are_run_by_the_same_thread_between_steps(loop: DeviceLoop, floor: Floor) -> None:
    holding = Holding()
    with ThreadPoolExecutor(2) as threads:
        drawing = threads.submit(loop.draw, floor.recipe(REQUEST), holding)
        assert holding.holds.wait(DEADLINE_SECONDS)
        errand = threads.submit(loop.do, threading.current_thread)
        assert not errand.done()
        holding.go.set()
        assert errand.result(DEADLINE_SECONDS).name == "device"
        assert drawing.result(DEADLINE_SECONDS)


def test_what_an_errand_raises_is_its_own(loop: DeviceLoop, floor: Floor) -> None:
    def fall() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.do(fall)
    assert loop.draw(floor.recipe(REQUEST), Looker())


def test_a_fault_of_our_own_leaves_nobody_waiting(
    loop: DeviceLoop, floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall() -> None:
        raise ZeroDivisionError("inner")

    with monkeypatch.context() as broken:
        broken.setattr(loop._stepper, "turn", fall)  # no input is known that leads to it
        with pytest.raises(GenerationError, match=r"^the model failed$"):
            loop.draw(floor.recipe(REQUEST), Looker())
    assert loop.draw(floor.recipe(REQUEST), Looker())


def test_closing_gives_up_what_is_under_way(floor: Floor) -> None:
    loop, holding = DeviceLoop(Cpu(), most=8), Holding()
    with ThreadPoolExecutor(2) as threads:
        drawing = threads.submit(loop.draw, floor.recipe(REQUEST), holding)
        assert holding.holds.wait(DEADLINE_SECONDS)
        closing = threads.submit(loop.close)
        holding.go.set()
        closing.result(DEADLINE_SECONDS)
        with pytest.raises(GenerationError, match="has been closed"):
            drawing.result(DEADLINE_SECONDS)
    with pytest.raises(GenerationError, match="has been closed"):
        loop.draw(floor.recipe(REQUEST), Looker())


def test_closing_what_never_began() -> None:
    DeviceLoop(Cpu(), most=8).close()


def test_the_memory_of_a_piece_of_work_is_measured() -> None:
    device = Cpu()
    with device.measuring() as peak:
        held = torch.ones(64_000_000, dtype=torch.uint8)
    assert held.numel() * 0.9 < peak.bytes < held.numel() * 2
    assert device.free_bytes() > 0
