"""Requests the estimate for each job of a scene, and compares it with the outcome."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from common.forecast.forecast import Forecast
from common.forecast.pace import Workload
from tests.simulation.reading import read_own_place, read_queue
from tests.simulation.world import Order, World

TOLERANCE = 0.3
# An eta is a whole number, rounded up: off by less than this it is as exact as it can be.
ROUNDING_SECONDS = 1.0
Estimate = Callable[[World, Order], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """One eta, and the seconds it took: as things stood, and with all that came later."""

    eta: int
    as_things_stood: float
    in_the_end: float


def is_close(eta: int, truth: float) -> bool:
    """Whether `eta` is within 30 % of `truth`, or equal in whole seconds."""
    return abs(eta - truth) <= max(TOLERANCE * truth, ROUNDING_SECONDS)


def share_close(told: list[tuple[int, float]]) -> float:
    """Return the share of etas that are close to the truth."""
    return sum(is_close(eta, truth) for eta, truth in told) / len(told)


def estimate(world: World, order: Order) -> float:
    """Estimate as the gateway does."""
    forecast = Forecast(read_queue(world), worker_slots=world.workers[0].places)
    load = Workload(1, order.cost)
    if order.claimed_at is not None:
        return forecast.running_seconds_left(load, world.now - order.claimed_at)
    own = read_own_place(world, world.accounts[order.tenant])
    return forecast.seconds_until_end(
        own, own.queued.load_before(order.priority, order.job_id), load
    )


def whole_queue(world: World, order: Order) -> float:
    """Estimate by the length of everyone's queue, as was done before there were fair claims."""
    ended = world.ended
    cost = sum(each.cost for each in ended)
    pace = sum(each.seconds for each in ended) / cost if cost else 0.5
    running = [each for worker in world.workers for each in worker.claims]
    if order.claimed_at is not None:
        return order.cost * pace - (world.now - order.claimed_at)
    waiting = [each for account in world.accounts.values() for each in account.in_turn]
    ahead = sum(each.cost for each in [*running, *waiting] if each.job_id < order.job_id)
    return ahead * pace / len(world.workers) + order.cost * pace


def ask_all(world: World, how: Estimate, *, every: int = 1) -> list[Answer]:
    """Run a scene to its end; ask for each job, or one in so many, when it has been accepted."""
    asked: list[tuple[Order, int, float]] = []
    arrivals = 0
    while arrivals < world.expected or any(order.ended_at is None for order, _, _ in asked):
        arrived = world.step()
        if arrived is None:
            continue
        arrivals += 1
        if arrivals % every == 0:
            eta = max(1, math.ceil(how(world, arrived)))
            asked.append((arrived, eta, _alone(world, arrived)))
    return [Answer(eta, stood, (order.ended_at or 0) - order.at) for order, eta, stood in asked]


def _alone(world: World, arrived: Order) -> float:
    """Return the seconds that the job takes if no other arrives."""
    copy = world.without_future()
    order = copy.find(arrived.job_id)
    while order.ended_at is None:
        copy.step()
    return copy.now - world.now
