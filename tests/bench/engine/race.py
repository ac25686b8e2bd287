"""So many clients, each with one request under way: how many images a second, and how late."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event

from common.runtime.clock import monotonic
from tests.bench.engine.contestants import Contestant
from tests.bench.engine.orders import Order
from tests.bench.figures import percentile

# Between the first requests of two clients, so that they do not run in step.
APART_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """One race of one contestant; latencies in seconds, from request to images."""

    contestant: str
    clients: int
    images_per_second: float
    p50: float
    p95: float
    busy: float | None = None


def race(name: str, contestant: Contestant, orders: Sequence[Order], clients: int) -> Result:
    waiting: SimpleQueue[Order] = SimpleQueue()
    for order in orders:
        waiting.put(order)
    latencies: list[float] = []

    def client(number: int) -> None:
        Event().wait(number * APART_SECONDS)
        while True:
            try:
                order = waiting.get_nowait()
            except Empty:
                return
            began = monotonic()
            contestant.draw(order)
            latencies.append(monotonic() - began)

    started = monotonic()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(client, range(clients)))
    seconds = monotonic() - started
    return Result(
        name, clients, len(orders) / seconds, percentile(latencies, 50), percentile(latencies, 95)
    )
