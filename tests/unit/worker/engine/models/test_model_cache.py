"""The model cache lends, loads in order, evicts unlent models, and starves no waiter."""

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

import pytest
import torch
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.domain.errors import ConfigurationError, GenerationStoppedError
from common.domain.generation import Endpoint
from common.runtime.clock import monotonic
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.generating import generate_image
from tests.unit.worker.engine.sample_images import a_request, same
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.models.loaded_model import LoadedModel
from worker.engine.models.loader import load_model
from worker.engine.models.memory_budget import host_memory, model_budget
from worker.engine.models.model_cache import ModelCache, ReserveMemory

SECONDS = 20
SIZES = {"small": 10, "middle": 20, "other": 20, "large": 40, "huge": 1_500_000_000}


class FakeModel:
    """A model without weights."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bytes = SIZES[name]
        self.unloaded = False

    def unload(self) -> None:
        self.unloaded = True


class CacheHarness:
    """A cache of 50 bytes whose loads can be blocked and made to fail."""

    def __init__(self, budget: int = 50) -> None:
        self.loads: list[str] = []
        self.at_once = 0
        self.begun = Event()
        self.go_on = Event()
        self.go_on.set()
        self.failing: set[str] = set()
        self.cache = ModelCache(self.load, budget)
        self.threads = ThreadPoolExecutor(8)
        self.borrowed = ExitStack()

    def load(self, name: str, reserve_memory: ReserveMemory) -> FakeModel:
        self.at_once += 1
        self.loads.append(name)
        self.begun.set()
        assert self.go_on.wait(SECONDS)
        assert self.at_once == 1
        try:
            if name in self.failing:
                raise ConfigurationError(f"model {name}: cannot be loaded")
            reserve_memory(SIZES[name])
            return FakeModel(name)
        finally:
            self.at_once -= 1

    def hold(self, name: str) -> FakeModel:
        """Borrow for the rest of the test."""
        return self.borrowed.enter_context(self.cache.borrow(name))

    def asks(self, name: str, release: Event) -> tuple[Event, Future[FakeModel]]:
        """Borrow in a thread until `release`; return an event that is set when it has the model."""
        has = Event()

        def borrow() -> FakeModel:
            with self.cache.borrow(name) as model:
                has.set()
                assert release.wait(SECONDS)
                assert not model.unloaded
                return model

        return has, self.threads.submit(borrow)

    def waits(self, number: int) -> None:
        """Wait until there are `number` waiters, read from a private attribute."""
        self.until(lambda: len(self.cache._waiters) == number)

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = monotonic() + SECONDS
        with self.cache._changed:
            while not happened():
                assert monotonic() < deadline
                self.cache._changed.wait(0.01)


@pytest.fixture
def harness() -> Iterator[CacheHarness]:
    harness = CacheHarness()
    yield harness
    harness.go_on.set()
    harness.threads.shutdown()
    harness.borrowed.close()


def lent(harness: CacheHarness, name: str) -> FakeModel:
    with harness.cache.borrow(name) as model:
        return model


def test_a_cached_model_is_not_loaded_again(harness: CacheHarness) -> None:
    assert lent(harness, "small") is lent(harness, "small")
    assert harness.loads == ["small"]
    assert harness.cache.loaded == {"small"}


def test_concurrent_requests_share_one_load(harness: CacheHarness) -> None:
    release = Event()
    harness.go_on.clear()
    asked = [harness.asks("small", release) for _ in range(5)]
    harness.begun.wait(SECONDS)
    harness.go_on.set()
    assert all(has.wait(SECONDS) for has, _ in asked)
    release.set()
    assert len({id(model.result(SECONDS)) for _, model in asked}) == 1
    assert harness.loads == ["small"]


def test_the_models_in_memory_are_counted(harness: CacheHarness) -> None:
    counts = []
    for name in ("small", "middle", "small", "large", "huge"):
        with suppress(ConfigurationError):
            lent(harness, name)
        counts.append(REGISTRY.get_sample_value("infill_models_loaded"))
    assert counts == [1, 2, 2, 2, 2]


def test_the_least_recently_used_model_is_evicted(harness: CacheHarness) -> None:
    small, middle = lent(harness, "small"), lent(harness, "middle")
    lent(harness, "small")
    with capture_logs() as logs:
        lent(harness, "large")
    assert harness.cache.loaded == {"small", "large"}
    assert REGISTRY.get_sample_value("infill_models_loaded") == 2
    assert middle.unloaded
    assert not small.unloaded
    assert [line["model"] for line in logs if line["event"] == "model_evicted"] == ["middle"]


def test_returning_a_model_counts_as_use(harness: CacheHarness) -> None:
    with harness.cache.borrow("small"):
        lent(harness, "middle")
    lent(harness, "large")
    assert harness.cache.loaded == {"small", "large"}


def test_a_lent_model_is_not_evicted(harness: CacheHarness) -> None:
    held = harness.hold("small")
    lent(harness, "middle")
    lent(harness, "large")
    assert harness.cache.loaded == {"small", "large"}
    assert not held.unloaded


def test_eviction_waits_until_a_model_is_returned(harness: CacheHarness) -> None:
    release = Event()
    has, held = harness.asks("middle", release)
    assert has.wait(SECONDS)
    never = Event()
    never.set()
    _, large = harness.asks("large", never)
    harness.waits(1)
    assert not large.done()
    release.set()
    assert large.result(SECONDS).name == "large"
    assert held.result(SECONDS).unloaded


def test_alternating_borrowers_cannot_starve_a_waiter(harness: CacheHarness) -> None:
    """A newcomer waits behind the waiting eviction, although its model is cached."""
    first, second = Event(), Event()
    has, _ = harness.asks("middle", first)
    assert has.wait(SECONDS)
    waiting, _ = harness.asks("large", second)
    harness.until(lambda: harness.cache._evicting)
    newcomer, _ = harness.asks("middle", second)
    harness.waits(2)
    assert not newcomer.is_set()
    first.set()
    assert waiting.wait(SECONDS)
    assert not newcomer.is_set()
    second.set()
    assert newcomer.wait(SECONDS)
    assert harness.loads == ["middle", "large", "middle"]


def test_cached_models_are_lent_during_a_load(harness: CacheHarness) -> None:
    lent(harness, "small")
    harness.begun.clear()
    harness.go_on.clear()
    done = Event()
    done.set()
    _, middle = harness.asks("middle", done)
    assert harness.begun.wait(SECONDS)
    assert lent(harness, "small").name == "small"
    assert not middle.done()


def test_models_are_loaded_in_request_order(harness: CacheHarness) -> None:
    release = Event()
    release.set()
    harness.go_on.clear()
    asked = []
    for number, name in enumerate(("large", "small", "middle", "large", "other"), start=1):
        asked.append(harness.asks(name, release)[1])
        harness.waits(number)
    harness.go_on.set()
    assert [model.result(SECONDS).name for model in asked] == [
        *("large", "small", "middle", "large", "other")
    ]
    assert harness.loads == ["large", "small", "middle", "other"]


def test_a_failed_load_fails_its_waiters_and_nothing_else(harness: CacheHarness) -> None:
    harness.failing = {"middle"}
    harness.go_on.clear()
    release = Event()
    release.set()
    asked = [harness.asks("middle", release)[1] for _ in range(3)]
    harness.waits(3)
    other = harness.asks("small", release)[1]
    harness.waits(4)
    harness.go_on.set()
    for model in asked:
        with pytest.raises(ConfigurationError, match="model middle: cannot be loaded"):
            model.result(SECONDS)
    assert other.result(SECONDS).name == "small"
    assert harness.loads == ["middle", "small"]
    harness.failing.clear()
    assert lent(harness, "middle").name == "middle"


def test_a_model_larger_than_the_budget_names_both_sizes() -> None:
    harness = CacheHarness(budget=1_250_000_000)
    with pytest.raises(ConfigurationError) as rejected:
        lent(harness, "huge")
    assert rejected.value.message == (
        "model huge: its weights take 1.5 GB, and 1.25 GB are set aside for models; raise "
        "INFILL_WORKER_MODEL_MEMORY_GB, or do not serve it here"
    )
    assert lent(harness, "small").name == "small"


def test_a_waiter_can_be_stopped(harness: CacheHarness) -> None:
    harness.hold("middle")
    asks: list[None] = []

    def should_stop() -> bool:
        asks.append(None)
        return len(asks) > 2

    with pytest.raises(GenerationStoppedError), harness.cache.borrow("large", should_stop):
        pass
    assert lent(harness, "middle").name == "middle"  # no eviction is waiting any more
    assert harness.cache.loaded == {"middle"}


def test_preload_loads_what_fits_in_order(harness: CacheHarness) -> None:
    with capture_logs() as logs:
        harness.cache.preload(["middle", "large", "other", "small"])
    assert harness.cache.loaded == {"middle", "other", "small"}
    assert harness.loads == ["middle", "large", "other", "small"]
    assert [line["model"] for line in logs if line["event"] == "model_not_preloaded"] == ["large"]
    assert lent(harness, "large").name == "large"


def test_preload_raises_if_a_model_cannot_be_loaded(harness: CacheHarness) -> None:
    harness.failing = {"large"}
    with pytest.raises(ConfigurationError, match="model large: cannot be loaded"):
        harness.cache.preload(["small", "large"])


@pytest.fixture(scope="module")
def size(models_directory: Path) -> int:
    entry = an_entry("standin", "random:base", Endpoint.TEXT2IMG)
    model = load_model(entry, models_directory, torch.device("cpu"))
    weights = [model.unet, model.vae, model.components["text_encoder"]]
    expected = sum(p.numel() * 4 for part in weights for p in part.parameters())
    buffers = sum(b.nbytes for part in weights for b in part.buffers())
    assert model.bytes == expected + buffers
    return model.bytes


def test_an_engine_with_memory_for_one_of_two_models(models_directory: Path, size: int) -> None:
    names = ("one", "two")
    entries = [an_entry(name, "random:base", Endpoint.TEXT2IMG) for name in names]
    engine = DiffusersEngine(entries, models_directory, "cpu", 1.5 * size / 1e9)
    engine.load()
    assert engine.loaded == {"one"}
    one, two = (generate_image(engine, a_request(Endpoint.TEXT2IMG, model=name)) for name in names)
    assert engine.loaded == {"two"}
    assert same(one, two)
    assert same(one, generate_image(engine, a_request(Endpoint.TEXT2IMG, model="one")))


def test_an_evicted_model_leaves_no_tensors(models_directory: Path, size: int) -> None:
    """Also of a model that `gc.freeze` excluded from collection, as at a worker's start."""

    def load(name: str, reserve_memory: ReserveMemory) -> LoadedModel:
        entry = an_entry(name, "random:base", Endpoint.TEXT2IMG)
        return load_model(entry, models_directory, torch.device("cpu"), reserve_memory)

    cache = ModelCache(load, round(1.5 * size))
    with cache.borrow("one") as model:
        traces: list[Callable[[], object]] = [weakref.ref(model)]
        for module in model.modules:
            traces += [weakref.ref(parameter) for parameter in module.parameters()]
    del model, module
    gc.freeze()
    try:
        with cache.borrow("two"):
            assert len(traces) > 50
            assert [trace for trace in traces if trace() is not None] == []
    finally:
        gc.unfreeze()


def test_the_budget_is_a_share_of_the_memory_limit(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert model_budget(cpu, 2.5) == 2_500_000_000
    assert model_budget(cpu, None) == host_memory() // 2
    limit = tmp_path / "memory.max"
    assert host_memory(limit) > 1_000_000_000
    limit.write_text("max\n")
    assert host_memory(limit) > 1_000_000_000
    limit.write_text("1000000\n")
    assert host_memory(limit) == 1_000_000
