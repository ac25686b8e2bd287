"""Requests per second the gateway takes, and jobs per second it reads back."""

from statistics import median
from typing import Any

from common.domain.record import JobResult
from common.repositories.claims import claim_jobs
from common.repositories.outcomes import succeed
from tests.bench.figures import Figure
from tests.bench.rig import Rig, load

CONNECTIONS = 32
REQUESTS = 4_000
ROUNDS = 5


async def measure_accepting(rig: Rig, gateway: int, bare: int) -> list[Figure]:
    """Compare accepted requests, and fetches, with the bare application's, round by round."""
    ours, theirs = rig.request(), rig.request(key=str(rig.tenant_id))
    accepted = await _compare(("/api/v3/inpaint", gateway, ours), ("/submit", bare, theirs))
    job_id = await _succeeded_job(rig)
    key = {"key": rig.api_key}
    fetched = await _compare(
        (f"/api/v3/fetch/{job_id}", gateway, key), (f"/read/{job_id}", bare, key)
    )
    return [
        _figure("accepted inpaint requests", accepted, 0.5),
        _figure("fetches", fetched, 0.6),
    ]


async def _compare(
    ours: tuple[str, int, dict[str, Any]], theirs: tuple[str, int, dict[str, Any]]
) -> tuple[float, float]:
    """Alternate, so that a neighbour's noise falls on both; give the medians."""
    rates: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS + 1):
        for rate, (path, port, body) in zip(rates, (ours, theirs), strict=True):
            figures = await load(port, path, body, connections=CONNECTIONS, requests=REQUESTS)
            if round_number:  # the first round warms both up
                rate.append(figures["per_second"])
    return median(rates[0]), median(rates[1])


async def _succeeded_job(rig: Rig) -> int:
    """End one of the jobs just accepted, as a worker would."""
    async with rig.database.statement() as connection:
        claimed = await claim_jobs(
            connection, queues=["standin-inpainting"], worker="bench", lease_seconds=60, limit=1
        )
        ((job, _),) = claimed.jobs
        result = JobResult((f"{job.tenant_id}/generations/{job.file_prefix}-1-0.png",), (False,), 1)
        await succeed(connection, job.claim, result)
    return job.id


def _figure(name: str, rates: tuple[float, float], target: float) -> Figure:
    return Figure(
        name=name,
        value=rates[0],
        unit="/s",
        baseline=rates[1],
        target=target,
        at_least=True,
        note=f"median of {ROUNDS} rounds of {REQUESTS} requests over {CONNECTIONS} connections",
    )
