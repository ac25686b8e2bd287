"""Requests accepted per second by the gateway, and jobs fetched per second."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from common.domain.record import JobResult
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import succeed
from tests.bench.figures import Figure
from tests.bench.load.http_load import run_load
from tests.bench.rig.cpu import cpu_seconds
from tests.bench.rig.stack import QUEUE, Rig
from tests.bench.sizes import RequestSizes, Sizes

MILLISECONDS = 1000


@dataclass(slots=True)
class Side:
    """One of two processes compared: what it is sent, and the figures of each round."""

    process: str
    port: int
    path: str
    body: dict[str, Any]
    status: int = 200
    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    async def run(self, rig: Rig, sizes: RequestSizes, *, counted: bool) -> None:
        pids = [rig.pids[self.process]]
        before = cpu_seconds(pids)
        figures = await run_load(
            self.port,
            self.path,
            self.body,
            connections=sizes.connections,
            requests=sizes.requests,
            status=self.status,
        )
        if counted:
            self.rates.append(figures["per_second"])
            self.cpu_ms.append((cpu_seconds(pids) - before) * MILLISECONDS / sizes.requests)


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Compare accepted requests, and fetches, with the bare gateway's, round by round."""
    gateway, bare = await rig.start_gateway(), await rig.start_bare_gateway()
    accepted = await _compare(
        rig,
        sizes.requests,
        Side("gateway", gateway, "/api/v3/inpaint", rig.request()),
        Side("bare gateway", bare, "/submit", rig.request(key=str(rig.tenant_id))),
    )
    # 504, since this gateway does not wait: the job goes on, and its result goes to a webhook.
    edit = Side("gateway", gateway, "/v1/images/edits", rig.openai_edit(), status=504)
    inpaint = Side(
        "gateway",
        gateway,
        "/api/v3/inpaint",
        rig.request(webhook=f"{rig.samples.base_url}/webhook"),
    )
    dialects = await _compare(rig, sizes.requests, edit, inpaint)
    job_id, key = await succeeded_job(rig), {"key": rig.api_key}
    fetched = await _compare(
        rig,
        sizes.requests,
        Side("gateway", gateway, f"/api/v3/fetch/{job_id}", key),
        Side("bare gateway", bare, f"/read/{job_id}", key),
    )
    return [
        _rate("accepted inpaint requests", accepted, 0.5, sizes.requests),
        _rate("accepted OpenAI edits, beside inpaint requests", dialects, 0.8, sizes.requests),
        _rate("fetches", fetched, 0.6, sizes.requests),
        _cpu("gateway process, CPU of an accepted request", accepted, 1 / 0.5),
        _cpu("gateway process, CPU of a fetch", fetched, 1 / 0.6),
    ]


async def _compare(rig: Rig, sizes: RequestSizes, *sides: Side) -> tuple[Side, ...]:
    """Alternate between the sides, so that a neighbour's noise falls on both."""
    for round_number in range(sizes.rounds + 1):
        for side in sides:
            await side.run(rig, sizes, counted=round_number > 0)  # the first round warms both up
    return sides


async def succeeded_job(rig: Rig) -> int:
    """Finish one of the jobs just accepted, as a worker would, and return its id."""
    async with rig.database.statement() as connection:
        claimed = await claim_jobs(
            connection, queues=[QUEUE], worker="bench", lease_seconds=60, limit=1
        )
        (job,) = (one.record for one in claimed.jobs)
        key = f"{job.tenant_id}/generations/{job.file_prefix}-1-0.png"
        result = JobResult((key,), (False,), 1.0, {}, 1.0)
        await succeed(connection, job.claim, result)
    return job.id


def _rate(name: str, sides: tuple[Side, ...], target: float, sizes: RequestSizes) -> Figure:
    ours, theirs = (median(side.rates) for side in sides)
    note = (
        f"median of {sizes.rounds} rounds of {sizes.requests} requests over "
        f"{sizes.connections} connections"
    )
    return Figure(name, ours, "/s", target, at_least=True, baseline=theirs, note=note)


def _cpu(name: str, sides: tuple[Side, ...], target: float) -> Figure:
    """Return the CPU time of the same rounds: other load on the machine changes it less."""
    ours, theirs = (median(side.cpu_ms) for side in sides)
    return Figure(name, ours, "ms", target, at_least=False, baseline=theirs)
