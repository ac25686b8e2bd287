"""Loaded models, as many as fit a budget of memory; the least recently used makes room."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import Final, Generic, Protocol, TypeVar

import structlog

from common.domain.errors import ConfigurationError, GenerationStoppedError

log = structlog.get_logger(__name__)

GIGABYTE: Final = 1e9
# How often somebody who waits asks whether to stop.
_STOP_CHECK_SECONDS: Final = 0.1


class Cacheable(Protocol):
    """What a shelf can hold: its size is known, and it can give its memory back."""

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        ...

    def unload(self) -> None:
        """Give the memory back."""
        ...


M = TypeVar("M", bound=Cacheable)
ReserveMemory = Callable[[int], None]


@dataclass(slots=True, eq=False)
class _Entry(Generic[M]):
    """One model on the shelf, and how many have borrowed it."""

    model: M
    borrowers: int = 0


@dataclass(slots=True, eq=False)
class _Waiter(Generic[M]):
    """Somebody who waits for a model until there is a place, or a failure.

    With `no_eviction` nothing is to be discarded for it.
    """

    name: str
    no_eviction: bool = False
    entry: _Entry[M] | None = None
    failure: Exception | None = None


class _NoRoomError(Exception):
    """There is no room unless something is discarded."""


class ModelCache(Generic[M]):
    """Lends models to several threads at once; loads and discards them as they are asked for.

    Models are loaded in the order in which they were asked for, one at a time, by a thread that
    lives as long as there are some to load: whoever waits can be told to stop, and what was
    begun is there for the next. Several that want the same model share it.

    Models that are there are lent at once, but for the moments in which room is waited for: else
    those who keep a model in use by turns would keep everyone else waiting for ever. So a wait
    is over when those before it were served and what was lent until then has come back.

    A thread that holds a model must not borrow another: two might wait for each other.
    """

    def __init__(self, load: Callable[[str, ReserveMemory], M], budget: int) -> None:
        """Keep up to `budget` bytes.

        `load` is given a name, and what to call with the model's size before its weights go to
        the memory that is counted.
        """
        self._load = load
        self._budget = budget
        self._changed = Condition()
        self._entries: dict[str, _Entry[M]] = {}  # the least recently used first
        self._waiters: deque[_Waiter[M]] = deque()
        self._sizes: dict[str, int] = {}  # of whatever was loaded once
        self._loading = False
        self._evicting = False  # room is waited for

    @property
    def loaded(self) -> frozenset[str]:
        """The names of the models that are there."""
        with self._changed:
            return frozenset(self._entries)

    @contextmanager
    def borrow(self, name: str, should_stop: Callable[[], bool] | None = None) -> Iterator[M]:
        """Lend the model `name` while the block lasts; it is loaded first, if it is not there.

        Raises:
            ConfigurationError: it cannot be loaded, or is larger than the whole budget.
            GenerationStoppedError: `should_stop` said yes during the wait.
        """
        entry = self._acquire(_Waiter(name), should_stop)
        try:
            yield entry.model
        finally:
            del entry
            self._release(name)

    def preload(self, names: Iterable[str]) -> None:
        """Load models in this order, each that fits beside those before it.

        All are read, so that one that cannot be loaded is found now.

        Raises:
            ConfigurationError: one cannot be loaded, or is larger than the whole budget.
        """
        for name in names:
            try:
                self._acquire(_Waiter(name, no_eviction=True), None)
            except _NoRoomError:
                log.info("model_not_preloaded", model=name, reason="no room beside those before it")
            else:
                self._release(name)

    def _acquire(self, waiter: _Waiter[M], should_stop: Callable[[], bool] | None) -> _Entry[M]:
        with self._changed:
            self._waiters.append(waiter)
            try:
                while (entry := self._entry_for(waiter)) is None:
                    if should_stop is not None and should_stop():
                        raise GenerationStoppedError("told to stop before its model was loaded")
                    self._start_loading()
                    self._changed.wait(None if should_stop is None else _STOP_CHECK_SECONDS)
            finally:
                self._waiters.remove(waiter)
                self._changed.notify_all()  # room may be waited for on its behalf
        return entry

    def _entry_for(self, waiter: _Waiter[M]) -> _Entry[M] | None:
        if waiter.failure is not None:
            raise waiter.failure
        if not self._evicting:
            self._serve(waiter)
        return waiter.entry

    def _serve(self, waiter: _Waiter[M]) -> None:
        """Lend what `waiter` waits for, if it is there."""
        if waiter.entry is None and waiter.name in self._entries:
            waiter.entry = self._touch(waiter.name)
            waiter.entry.borrowers += 1

    def _touch(self, name: str) -> _Entry[M]:
        """Give the place of a model that is the most recently used from now on."""
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
        """Give the first who wants what is not there; if nobody does, loading is over."""
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
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait are told
            self._fail(waiter, error)
            return
        with self._changed:
            self._entries[waiter.name] = _Entry(model)
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
        """Discard the least recently used model that nobody has; if all are lent, wait."""
        idle = next((name for name, entry in self._entries.items() if not entry.borrowers), None)
        if idle is None:
            self._changed.wait()
            return
        self._entries.pop(idle).model.unload()
        log.info("model_evicted", model=idle, reason="another needs its memory")
