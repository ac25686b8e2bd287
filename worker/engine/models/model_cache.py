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
_ASKING_SECONDS: Final = 0.1


class Cacheable(Protocol):
    """What a shelf can hold: its size is known, and it can give its memory back."""

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        ...

    def discard(self) -> None:
        """Give the memory back."""
        ...


M = TypeVar("M", bound=Cacheable)
MakeRoom = Callable[[int], None]


@dataclass(slots=True, eq=False)
class _Place(Generic[M]):
    """One model on the shelf, and how many have borrowed it."""

    model: M
    borrowers: int = 0


@dataclass(slots=True, eq=False)
class _Ticket(Generic[M]):
    """Somebody who waits for a model until there is a place, or a failure.

    With `only_if_free` nothing is to be discarded for it.
    """

    name: str
    only_if_free: bool = False
    place: _Place[M] | None = None
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

    def __init__(self, load: Callable[[str, MakeRoom], M], budget: int) -> None:
        """Keep up to `budget` bytes.

        `load` is given a name, and what to call with the model's size before its weights go to
        the memory that is counted.
        """
        self._load = load
        self._budget = budget
        self._changed = Condition()
        self._places: dict[str, _Place[M]] = {}  # the least recently used first
        self._line: deque[_Ticket[M]] = deque()
        self._sizes: dict[str, int] = {}  # of whatever was loaded once
        self._loading = False
        self._clearing = False  # room is waited for

    @property
    def loaded(self) -> frozenset[str]:
        """The names of the models that are there."""
        with self._changed:
            return frozenset(self._places)

    @contextmanager
    def borrow(self, name: str, should_stop: Callable[[], bool] | None = None) -> Iterator[M]:
        """Lend the model `name` while the block lasts; it is loaded first, if it is not there.

        Raises:
            ConfigurationError: it cannot be loaded, or is larger than the whole budget.
            GenerationStoppedError: `should_stop` said yes during the wait.
        """
        place = self._taken(_Ticket(name), should_stop)
        try:
            yield place.model
        finally:
            del place
            self._give_back(name)

    def fill(self, names: Iterable[str]) -> None:
        """Load models in this order, each that fits beside those before it.

        All are read, so that one that cannot be loaded is found now.

        Raises:
            ConfigurationError: one cannot be loaded, or is larger than the whole budget.
        """
        for name in names:
            try:
                self._taken(_Ticket(name, only_if_free=True), None)
            except _NoRoomError:
                log.info("model_not_kept", model=name, reason="no room beside those before it")
            else:
                self._give_back(name)

    def _taken(self, ticket: _Ticket[M], should_stop: Callable[[], bool] | None) -> _Place[M]:
        with self._changed:
            self._line.append(ticket)
            try:
                while (place := self._place_for(ticket)) is None:
                    if should_stop is not None and should_stop():
                        raise GenerationStoppedError("told to stop before its model was loaded")
                    self._begin_loading()
                    self._changed.wait(None if should_stop is None else _ASKING_SECONDS)
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()  # room may be waited for on its behalf
        return place

    def _place_for(self, ticket: _Ticket[M]) -> _Place[M] | None:
        if ticket.failure is not None:
            raise ticket.failure
        if not self._clearing:
            self._serve(ticket)
        return ticket.place

    def _serve(self, ticket: _Ticket[M]) -> None:
        """Lend what `ticket` waits for, if it is there."""
        if ticket.place is None and ticket.name in self._places:
            ticket.place = self._used(ticket.name)
            ticket.place.borrowers += 1

    def _used(self, name: str) -> _Place[M]:
        """Give the place of a model that is the most recently used from now on."""
        place = self._places.pop(name)
        self._places[name] = place
        return place

    def _give_back(self, name: str) -> None:
        with self._changed:
            self._used(name).borrowers -= 1
            self._changed.notify_all()

    def _begin_loading(self) -> None:
        if not self._loading:
            self._loading = True
            Thread(target=self._load_in_order, name="models", daemon=True).start()

    def _load_in_order(self) -> None:
        while (ticket := self._first_in_line()) is not None:
            self._load_for(ticket)

    def _first_in_line(self) -> _Ticket[M] | None:
        """Give the first who wants what is not there; if nobody does, loading is over."""
        with self._changed:
            waiting = (
                ticket
                for ticket in self._line
                if ticket.failure is None and ticket.name not in self._places
            )
            first = next(waiting, None)
            self._loading = first is not None
            return first

    def _load_for(self, ticket: _Ticket[M]) -> None:
        make_room = partial(self._make_room, ticket)
        try:
            if size := self._sizes.get(ticket.name):
                make_room(size)
            model = self._load(ticket.name, make_room)
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait are told
            self._tell(ticket, error)
            return
        with self._changed:
            self._places[ticket.name] = _Place(model)
            self._sizes[ticket.name] = model.bytes
            self._serve_all()

    def _serve_all(self) -> None:
        for waiting in self._line:
            self._serve(waiting)
        self._changed.notify_all()

    def _tell(self, ticket: _Ticket[M], error: Exception) -> None:
        with self._changed:
            for waiting in self._line:
                alike = waiting.name == ticket.name and not isinstance(error, _NoRoomError)
                if alike or waiting is ticket:
                    waiting.failure = error
            self._changed.notify_all()

    def _make_room(self, ticket: _Ticket[M], size: int) -> None:
        if size > self._budget:
            raise ConfigurationError(
                f"model {ticket.name}: its weights take {size / GIGABYTE:.3g} GB, and "
                f"{self._budget / GIGABYTE:.3g} GB are set aside for models; raise "
                "INFILL_WORKER_MODEL_MEMORY_GB, or do not serve it here"
            )
        with self._changed:
            try:
                while self._taken_bytes() + size > self._budget:
                    if ticket.only_if_free or not self._is_wanted(ticket.name):
                        raise _NoRoomError
                    self._clearing = True
                    self._discard_one()
            finally:
                self._clearing = False
                self._serve_all()

    def _taken_bytes(self) -> int:
        return sum(place.model.bytes for place in self._places.values())

    def _is_wanted(self, name: str) -> bool:
        return any(waiting.name == name for waiting in self._line)

    def _discard_one(self) -> None:
        """Discard the least recently used model that nobody has; if all are lent, wait."""
        idle = next((name for name, place in self._places.items() if not place.borrowers), None)
        if idle is None:
            self._changed.wait()
            return
        self._places.pop(idle).model.discard()
        log.info("model_discarded", model=idle, reason="another needs its memory")
