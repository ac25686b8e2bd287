"""A queue of several tenants and its workers: fair claiming, event by event, in simulated time.

The rules are those of `common.postgres.repositories.fair_queue.claim`, implemented a second time
in plain Python.
"""

import heapq
import pickle
from dataclasses import dataclass, field
from itertools import count
from typing import Any

SWEEP_SECONDS = 2.0
LATEST_SUCCESSES = 50


@dataclass(slots=True)
class Order:
    """One job: its tenant, time of arrival, cost, and the seconds that an engine needs."""

    at: float
    tenant: int
    cost: float
    seconds: float
    priority: int = 0
    job_id: int = 0
    left: float = 0.0  # of those seconds, once it is claimed
    claimed_at: float | None = None
    ended_at: float | None = None


@dataclass(slots=True)
class Account:
    """One tenant in the queue; `backlog` is the sweeper's count, less what was claimed since."""

    tenant: int
    weight: float = 1.0
    max_running: int | None = None
    virtual_time: float = 0.0
    start_tag: float = 0.0
    has_ready: bool = False
    running: int = 0
    backlog: float = 0.0
    waiting: list[tuple[int, int, Order]] = field(default_factory=list)

    @property
    def can_be_served(self) -> bool:
        return self.has_ready and (self.max_running is None or self.running < self.max_running)

    @property
    def in_turn(self) -> list[Order]:
        """The waiting jobs in the order of their claims."""
        return [order for _, _, order in sorted(self.waiting, key=lambda entry: entry[:2])]


@dataclass(slots=True)
class SimulatedWorker:
    """A worker: its claims are generated together, each with an equal share of the engine's time.

    `version` tells whether a predicted end is still valid.
    """

    places: int
    claims: list[Order] = field(default_factory=list)
    version: int = 0
    _at: float = 0.0

    @property
    def has_room(self) -> bool:
        return len(self.claims) < self.places

    def take(self, order: Order, now: float) -> None:
        """Start one more job."""
        self._advance_to(now)
        order.left = order.seconds
        order.claimed_at = now
        self.claims.append(order)

    def end(self, now: float) -> Order:
        """Remove and return the job that ends now."""
        self._advance_to(now)
        order = min(self.claims, key=lambda each: each.left)
        self.claims.remove(order)
        order.ended_at = now
        return order

    def predict_end(self) -> tuple[float, int] | None:
        """Return when the next job ends, and the version; None without jobs."""
        self.version += 1
        if not self.claims:
            return None
        return self._at + min(each.left for each in self.claims) * len(self.claims), self.version

    def _advance_to(self, now: float) -> None:
        for each in self.claims:
            each.left -= (now - self._at) / len(self.claims)
        self._at = now


class World:
    """The state of everything at `now`."""

    def __init__(self, accounts: list[Account], *, workers: int, places: int) -> None:
        self.now = 0.0
        self.accounts = {account.tenant: account for account in accounts}
        self.workers = [SimulatedWorker(places) for _ in range(workers)]
        self.ended: list[Order] = []
        self.last_id = 0
        self.expected = 0
        self._events: list[tuple[float, int, str, Any]] = []
        self._ids = count(1)
        self._at(SWEEP_SECONDS, "sweep", None)

    @property
    def virtual_time(self) -> float:
        return max(account.start_tag for account in self.accounts.values())

    def expect(self, orders: list[Order]) -> None:
        """Schedule the arrival of these jobs."""
        self.expected += len(orders)
        for order in orders:
            self._at(order.at, "arrival", order)

    def find(self, job_id: int) -> Order:
        """Return an unfinished job."""
        claimed = [order for worker in self.workers for order in worker.claims]
        waiting = [order for account in self.accounts.values() for order in account.in_turn]
        return next(order for order in [*claimed, *waiting] if order.job_id == job_id)

    def without_future(self) -> "World":
        """Return a copy without future arrivals and sweeps, whose counts nothing reads there."""
        events, self._events = self._events, [each for each in self._events if each[2] == "ended"]
        copy: World = pickle.loads(pickle.dumps(self))  # noqa: S301 - our own, and fast
        self._events = events
        heapq.heapify(copy._events)
        return copy

    def step(self) -> Order | None:
        """Process the next event; return the job that has just arrived, if any."""
        self.now, _, kind, about = heapq.heappop(self._events)
        if kind == "arrival":
            self._submit(about)
        elif kind == "ended":
            self._end(*about)
        else:
            self._sweep()
        self._claim_all()
        return about if kind == "arrival" else None

    def _at(self, when: float, kind: str, about: Any) -> None:
        heapq.heappush(self._events, (when, next(self._ids), kind, about))

    def _submit(self, order: Order) -> None:
        account = self.accounts[order.tenant]
        self.last_id += 1
        order.job_id = self.last_id
        if not account.has_ready:
            account.has_ready = True
            account.virtual_time = max(account.virtual_time, self.virtual_time)
        heapq.heappush(account.waiting, (-order.priority, order.job_id, order))

    def _end(self, number: int, version: int) -> None:
        worker = self.workers[number]
        if version != worker.version:
            return
        order = worker.end(self.now)
        self.accounts[order.tenant].running -= 1
        self.ended = [*self.ended[1 - LATEST_SUCCESSES :], order]
        self._schedule_end(number)

    def _schedule_end(self, number: int) -> None:
        if (predicted := self.workers[number].predict_end()) is not None:
            self._at(predicted[0], "ended", (number, predicted[1]))

    def _sweep(self) -> None:
        for account in self.accounts.values():
            account.backlog = sum(order.cost for _, _, order in account.waiting)
        self._at(self.now + SWEEP_SECONDS, "sweep", None)

    def _claim_all(self) -> None:
        while True:
            number, worker = min(enumerate(self.workers), key=lambda each: len(each[1].claims))
            if not worker.has_room or (order := self._claim()) is None:
                return
            worker.take(order, self.now)
            self._schedule_end(number)

    def _claim(self) -> Order | None:
        while True:
            servable = [each for each in self.accounts.values() if each.can_be_served]
            if not servable:
                return None
            account = min(servable, key=lambda each: (each.virtual_time, each.tenant))
            if account.waiting:
                return self._take(account)
            account.has_ready = False

    def _take(self, account: Account) -> Order:
        order = heapq.heappop(account.waiting)[2]
        account.start_tag = account.virtual_time
        account.virtual_time += order.cost / account.weight
        account.running += 1
        account.backlog = max(0.0, account.backlog - order.cost)
        return order
