"""Requests per second the gateway takes, and jobs per second it reads back."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from common.domain.record import JobResult
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import succeed
from tests.bench.figures import Figure
from tests.bench.rig.cpu import cpu_seconds
from tests.bench.rig.stack import Rig, load

CONNECTIONS = 32
REQUESTS = 4_000
ROUNDS = 5
MILLISECONDS = 1000


@dataclass(slots=True)
class Side:
    """One of the two that are compared: the process, what it is sent, and each round's figures."""

    process: str
    port: int
    path: str
    body: dict[str, Any]
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    async def run(self, rig: Rig, *, counted: bool) -> None:
        pids = [rig.supervisor.pids[self.process]]
        before = cpu_seconds(pids)
        figures = await load(
            self.port, self.path, self.body, connections=CONNECTIONS, requests=REQUESTS
        )
        if counted:
            self.rates.append(figures["per_second"])
            self.cpu_ms.append((cpu_seconds(pids) - before) * MILLISECONDS / REQUESTS)


async def measure_accepting(rig: Rig, gateway: int, bare: int) -> list[Figure]:
    """Compare accepted requests, and fetches, with the bare application's, round by round."""
    accepted = await _compare(
        rig,
        Side("gateway", gateway, "/api/v3/inpaint", rig.request()),
        Side("baseline", bare, "/submit", rig.request(key=str(rig.tenant_id))),
    )
    job_id, key = await succeeded_job(rig), {"key": rig.api_key}
    fetched = await _compare(
        rig,
        Side("gateway", gateway, f"/api/v3/fetch/{job_id}", key),
        Side("baseline", bare, f"/read/{job_id}", key),
    )
    return [
        _rate("accepted inpaint requests", accepted, 0.5),
        _rate("fetches", fetched, 0.6),
        _cpu("process's CPU of an accepted request", accepted, 1 / 0.5),
        _cpu("process's CPU of a fetch", fetched, 1 / 0.6),
    ]


async def _compare(rig: Rig, *sides: Side) -> tuple[Side, ...]:
    """Alternate, so that a neighbour's noise falls on both."""
    for round_number in range(ROUNDS + 1):
        for side in sides:
            await side.run(rig, counted=round_number > 0)  # the first round warms both up
    return sides


async def succeeded_job(rig: Rig) -> int:
    """End one of the jobs just accepted, as a worker would."""
    async with rig.database.statement() as connection:
        claimed = await claim_jobs(
            connection, queues=["standin-inpainting"], worker="bench", lease_seconds=60, limit=1
        )
        ((job, _),) = claimed.jobs
        result = JobResult((f"{job.tenant_id}/generations/{job.file_prefix}-1-0.png",), (False,), 1)
        await succeed(connection, job.claim, result)
    return job.id


def _rate(name: str, sides: tuple[Side, ...], target: float) -> Figure:
    ours, theirs = (median(side.rates) for side in sides)
    note = f"median of {ROUNDS} rounds of {REQUESTS} requests over {CONNECTIONS} connections"
    return Figure(name, ours, "/s", target, at_least=True, baseline=theirs, note=note)


def _cpu(name: str, sides: tuple[Side, ...], target: float) -> Figure:
    """Tell of the same rounds what they cost: that depends less on who else uses the machine."""
    ours, theirs = (median(side.cpu_ms) for side in sides)
    return Figure(name, ours, "ms", target, at_least=False, baseline=theirs)
