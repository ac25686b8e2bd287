"""Who sends what: scenes of several tenants, drawn from a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.simulation.world import LATEST_SUCCESSES, Account, Order, World

SECONDS_PER_UNIT = 0.8
SECONDS_PER_JOB = 1.5
# 512 × 512 and 768 × 768 and 1024 × 1024, of 21 and 50 steps and one or two images.
COSTS = (5.5, 5.5, 5.5, 11.0, 13.1, 12.4, 22.0, 29.5)
LASTS_SECONDS = 1200.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A queue and what arrives in it."""

    name: str
    accounts: Callable[[], list[Account]]
    orders: Callable[[random.Random], list[Order]]
    workers: int = 4
    places: int = 1

    def world(self, seed: int) -> World:
        """Return its initial world: some jobs have ended before, so the speed is known."""
        world = World(self.accounts(), workers=self.workers, places=self.places)
        draw = random.Random(seed)
        world.ended = [order(draw, 0.0, 0) for _ in range(LATEST_SUCCESSES)]
        world.expect(self.orders(draw))
        return world


def order(draw: random.Random, at: float, tenant: int, **changes: int) -> Order:
    """Draw a job's size; its speed is the model's, within a few per cent."""
    cost = draw.choice(COSTS)
    seconds = (SECONDS_PER_JOB + SECONDS_PER_UNIT * cost) * draw.uniform(0.95, 1.05)
    return Order(at, tenant, cost, seconds, **changes)


def batches(
    draw: random.Random, tenant: int, *, every: float, jobs: int, first: float = 0.0
) -> Iterator[Order]:
    """Send so many jobs at once, again and again."""
    at = first
    while at < LASTS_SECONDS:
        for number in range(jobs):
            yield order(draw, at + number * 0.05, tenant)
        at += draw.uniform(0.7, 1.3) * every


def _shared_accounts() -> list[Account]:
    weights = {0: 1.0, 1: 1.0, 2: 1.0, 3: 2.0, 4: 4.0, 5: 1.0}
    limits = {1: 1, 5: 2}
    named = [Account(tenant, weights[tenant], limits.get(tenant)) for tenant in weights]
    return [*named, *(Account(tenant) for tenant in range(100, 140))]


def _shared_orders(draw: random.Random) -> list[Order]:
    """A hog, another at its limit, tenants of weight 1, 2, 4 and priorities, and newcomers."""
    orders = [order(draw, number * 0.02, 0) for number in range(500)]
    orders += [order(draw, 5 + number * 0.02, 1) for number in range(120)]
    orders += list(batches(draw, 2, every=120, jobs=8, first=20))
    orders += list(batches(draw, 3, every=150, jobs=16, first=40))
    orders += list(batches(draw, 4, every=200, jobs=30, first=60))
    orders += list(batches(draw, 5, every=90, jobs=6, first=30))
    orders += [order(draw, draw.uniform(10, LASTS_SECONDS), 2, priority=5) for _ in range(30)]
    orders += [order(draw, draw.uniform(10, LASTS_SECONDS), tenant) for tenant in range(100, 140)]
    return orders


def _crowd_accounts() -> list[Account]:
    return [Account(tenant, draw_weight) for tenant, draw_weight in enumerate((1.0, 2.0, 4.0) * 20)]


def _crowd_orders(draw: random.Random) -> list[Order]:
    """Sixty tenants with a batch each, within some minutes."""
    return [
        order(draw, at + number * 0.05, tenant)
        for tenant in range(60)
        for at in [draw.uniform(0, LASTS_SECONDS / 4)]
        for number in range(draw.randint(2, 14))
    ]


def _calm_orders(draw: random.Random) -> list[Order]:
    """Arrivals at random that keep the engines busy for three quarters of their time."""
    orders: list[Order] = []
    at = 0.0
    while at < LASTS_SECONDS:
        at += draw.expovariate(4 * 0.75 / 12.0)
        orders.append(order(draw, at, draw.randrange(12)))
    return orders


CALM = Scene("calm", lambda: [Account(tenant) for tenant in range(12)], _calm_orders)
SCENES = (
    Scene("a hog, limits, weights, newcomers", _shared_accounts, _shared_orders),
    Scene("the same, eight claims a worker", _shared_accounts, _shared_orders, places=8),
    Scene("sixty tenants at once, three claims", _crowd_accounts, _crowd_orders, 6, 3),
    CALM,
    replace(CALM, name="calm, eight claims a worker", places=8),
)


def few_accounts() -> list[Account]:
    """Return six tenants with different weights and limits."""
    weights, limits = (1.0, 1.0, 2.0, 4.0, 1.0, 1.0), {1: 1, 4: 2}
    return [Account(tenant, weight, limits.get(tenant)) for tenant, weight in enumerate(weights)]


def few_orders(draw: random.Random) -> list[Order]:
    """Return a hog's burst, batches of the others, one of higher priority, within two minutes."""
    jobs = {0: 60, 1: 8, 2: 14, 3: 20, 4: 10, 5: 4}
    begin = {0: 0.0, 1: 6.0, 2: 15.0, 3: 40.0, 4: 60.0, 5: 90.0}
    orders = [
        order(draw, begin[tenant] + number * 0.1, tenant)
        for tenant, many in jobs.items()
        for number in range(many)
    ]
    return [*orders, order(draw, 100.0, 0, priority=5), order(draw, 101.0, 2, priority=3)]
