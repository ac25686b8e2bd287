"""One race: clients with one request each under way, images per second and latencies."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event

from common.runtime.clock import monotonic
from tests.bench.engine.contestants import Contestant
from tests.bench.engine.requests import RaceRequest
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


def race(
    name: str, contestant: Contestant, requests: Sequence[RaceRequest], clients: int
) -> Result:
    """Send `requests` from so many clients; return what was measured."""
    waiting: SimpleQueue[RaceRequest] = SimpleQueue()
    for one in requests:
        waiting.put(one)
    latencies: list[float] = []

    def client(number: int) -> None:
        Event().wait(number * APART_SECONDS)
        while True:
            try:
                one = waiting.get_nowait()
            except Empty:
                return
            began = monotonic()
            contestant.generate(one)
            latencies.append(monotonic() - began)

    started = monotonic()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(client, range(clients)))
    seconds = monotonic() - started
    return Result(
        name, clients, len(requests) / seconds, percentile(latencies, 50), percentile(latencies, 95)
    )
