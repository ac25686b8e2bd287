"""The model cache: loaded models within a memory budget; the least recently used is evicted."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import Final, Generic, Protocol, TypeVar

import structlog

from common.domain.errors import ConfigurationError, GenerationStoppedError
from common.runtime.metrics import MODELS_LOADED

log = structlog.get_logger(__name__)

GIGABYTE: Final = 1e9
# How often a waiter calls `should_stop`.
_STOP_CHECK_SECONDS: Final = 0.1


class Cacheable(Protocol):
    """A model that can be cached: it knows its size in memory and can free that memory."""

    @property
    def bytes(self) -> int:
        """Return the memory that the model takes up, in bytes."""
        ...

    def unload(self) -> None:
        """Free the memory of the model."""
        ...


M = TypeVar("M", bound=Cacheable)
ReserveMemory = Callable[[int], None]


@dataclass(slots=True, eq=False)
class _Entry(Generic[M]):
    """A cached model and the number of blocks that are borrowing it."""

    model: M
    borrowers: int = 0


@dataclass(slots=True, eq=False)
class _Waiter(Generic[M]):
    """A request for a model, waiting until the model is lent or fails to load.

    If `no_eviction` is true, no other model may be evicted to make room.
    """

    name: str
    no_eviction: bool = False
    entry: _Entry[M] | None = None
    failure: Exception | None = None


class _NoRoomError(Exception):
    """Raised inside the cache: the model does not fit unless another one is evicted."""


class ModelCache(Generic[M]):
    """Lends models to threads; loads and evicts them on demand. Thread-safe.

    Models are loaded one at a time, in the order of the requests, by a thread that exists while
    there are models to load. So a waiting caller can stop without aborting the load, from which the
    next caller benefits. Callers that wait for the same model share one load.

    A cached model is lent at once, except while an eviction waits for borrowers to return their
    models: otherwise, threads that borrow a busy model in turn could keep a waiter waiting for
    ever. So a wait ends when the earlier waiters have been served and the models lent until then
    have been returned.

    A thread that holds a model must not borrow another: two such threads could deadlock.
    """

    def __init__(self, load: Callable[[str, ReserveMemory], M], budget: int) -> None:
        """Create a cache of up to `budget` bytes.

        `load` takes a model's name and a function, which it must call with the model's size in
        bytes before it moves the weights to the memory that the budget counts.
        """
        self._load = load
        self._budget = budget
        self._changed = Condition()
        self._entries: dict[str, _Entry[M]] = {}  # least recently used first
        self._waiters: deque[_Waiter[M]] = deque()
        self._sizes: dict[str, int] = {}  # of every model loaded before
        self._loading = False
        self._evicting = False  # an eviction is in progress or waits

    @property
    def loaded(self) -> frozenset[str]:
        """Return the names of the cached models."""
        with self._changed:
            return frozenset(self._entries)

    @contextmanager
    def borrow(self, name: str, should_stop: Callable[[], bool] | None = None) -> Iterator[M]:
        """Lend the model `name` for the duration of the block; load it first if necessary.

        Raises:
            ConfigurationError: the model cannot be loaded, or is larger than the whole budget.
            GenerationStoppedError: `should_stop` returned true during the wait.
        """
        entry = self._acquire(_Waiter(name), should_stop)
        try:
            yield entry.model
        finally:
            del entry
            self._release(name)

    def preload(self, names: Iterable[str]) -> None:
        """Load the models `names` in order, skipping models that do not fit beside earlier ones.

        The skipped models are read as well, so that broken weights are found at the start.

        Raises:
            ConfigurationError: a model cannot be loaded, or is larger than the whole budget.
        """
        for name in names:
            try:
                self._acquire(_Waiter(name, no_eviction=True), None)
            except _NoRoomError:
                log.info("model_not_preloaded", model=name, reason="does not fit beside the others")
            else:
                self._release(name)

    def _acquire(self, waiter: _Waiter[M], should_stop: Callable[[], bool] | None) -> _Entry[M]:
        with self._changed:
            self._waiters.append(waiter)
            try:
                while (entry := self._entry_for(waiter)) is None:
                    if should_stop is not None and should_stop():
                        raise GenerationStoppedError(
                            "the generation was stopped while its model was loading"
                        )
                    self._start_loading()
                    self._changed.wait(None if should_stop is None else _STOP_CHECK_SECONDS)
            finally:
                self._waiters.remove(waiter)
                self._changed.notify_all()  # an eviction may be waiting on its behalf
        return entry

    def _entry_for(self, waiter: _Waiter[M]) -> _Entry[M] | None:
        if waiter.failure is not None:
            raise waiter.failure
        if not self._evicting:
            self._serve(waiter)
        return waiter.entry

    def _serve(self, waiter: _Waiter[M]) -> None:
        """Lend `waiter` its model if the model is cached."""
        if waiter.entry is None and waiter.name in self._entries:
            waiter.entry = self._touch(waiter.name)
            waiter.entry.borrowers += 1

    def _touch(self, name: str) -> _Entry[M]:
        """Mark the model `name` as the most recently used, and return its entry."""
        entry = self._entries.pop(name)
        self._entries[name] = entry
        return entry

    def _release(self, name: str) -> None:
        with self._changed:
            self._touch(name).borrowers -= 1
            self._changed.notify_all()

    def _start_loading(self) -> None:
        if not self._loading:
            self._loading = True
            Thread(target=self._load_in_order, name="models", daemon=True).start()

    def _load_in_order(self) -> None:
        while (waiter := self._next_to_load()) is not None:
            self._load_for(waiter)

    def _next_to_load(self) -> _Waiter[M] | None:
        """Return the first waiter whose model is not cached; None ends the loading thread."""
        with self._changed:
            waiting = (
                waiter
                for waiter in self._waiters
                if waiter.failure is None and waiter.name not in self._entries
            )
            first = next(waiting, None)
            self._loading = first is not None
            return first

    def _load_for(self, waiter: _Waiter[M]) -> None:
        reserve_memory = partial(self._reserve_memory, waiter)
        try:
            if size := self._sizes.get(waiter.name):
                reserve_memory(size)
            model = self._load(waiter.name, reserve_memory)
        except Exception as error:  # noqa: BLE001 waiters get the error
            self._fail(waiter, error)
            return
        with self._changed:
            self._entries[waiter.name] = _Entry(model)
            MODELS_LOADED.set(len(self._entries))
            self._sizes[waiter.name] = model.bytes
            self._serve_all()

    def _serve_all(self) -> None:
        for waiting in self._waiters:
            self._serve(waiting)
        self._changed.notify_all()

    def _fail(self, waiter: _Waiter[M], error: Exception) -> None:
        with self._changed:
            for waiting in self._waiters:
                same_model = waiting.name == waiter.name and not isinstance(error, _NoRoomError)
                if same_model or waiting is waiter:
                    waiting.failure = error
            self._changed.notify_all()

    def _reserve_memory(self, waiter: _Waiter[M], size: int) -> None:
        if size > self._budget:
            raise ConfigurationError(
                f"model {waiter.name}: its weights take {size / GIGABYTE:.3g} GB, and "
                f"{self._budget / GIGABYTE:.3g} GB are set aside for models; raise "
                "INFILL_WORKER_MODEL_MEMORY_GB, or do not serve it here"
            )
        with self._changed:
            try:
                while self._used_bytes() + size > self._budget:
                    if waiter.no_eviction or not self._is_awaited(waiter.name):
                        raise _NoRoomError
                    self._evicting = True
                    self._evict_one()
            finally:
                self._evicting = False
                self._serve_all()

    def _used_bytes(self) -> int:
        return sum(entry.model.bytes for entry in self._entries.values())

    def _is_awaited(self, name: str) -> bool:
        return any(waiting.name == name for waiting in self._waiters)

    def _evict_one(self) -> None:
        """Evict the least recently used model that is not in use.

        If all models are in use, wait until the state of the cache changes.
        """
        idle = next((name for name, entry in self._entries.items() if not entry.borrowers), None)
        if idle is None:
            self._changed.wait()
            return
        self._entries.pop(idle).model.unload()
        MODELS_LOADED.set(len(self._entries))
        log.info("model_evicted", model=idle, reason="another model needs its memory")
