"""Jobs through the whole stack: how long one waits when alone."""

import json
from itertools import pairwise

import httpx2

from common.postgres.repositories.jobs.read import read_job
from tests.bench.figures import Figure, percentile
from tests.bench.rig.stack import Rig

JOBS = 300
WARM_UP = 30
MILLISECONDS = 1000


async def measure_journeys(rig: Rig, gateway: int) -> list[Figure]:
    """Send jobs one after another, each when the webhook of the one before has come."""
    starts: list[float] = []
    arrivals: list[float] = []
    async with httpx2.AsyncClient(trust_env=False) as client:
        for number in range(WARM_UP + JOBS):
            waited, told = await _journey(rig, client, gateway)
            if number >= WARM_UP:
                starts.append(waited)
                arrivals.append(told)
    return [
        _latency("accepted to generation starts, p50", starts, 15),
        _latency("finish committed to webhook arrives, p50", arrivals, 20),
    ]


async def _journey(rig: Rig, client: httpx2.AsyncClient, gateway: int) -> tuple[float, float]:
    """Give the milliseconds from accepted to started, and from committed to told."""
    job_id = await rig.send_job(client, gateway)
    call = await rig.beside.calls.get()
    told = json.loads(call.body)
    assert told["status"] == "success" and told["id"] == job_id, told  # noqa: PT018 - one fact
    async with rig.database.statement() as connection:
        view = await read_job(connection, tenant_id=rig.tenant_id, job_id=job_id)
    assert view is not None
    job = view.job
    assert job.result is not None
    assert job.finished_at is not None
    moments = [
        job.created_at.timestamp(),
        job.result.timeline["generation_started"],
        job.finished_at.timestamp(),
        call.arrived_at.timestamp(),
    ]
    waited, _, told_after = [(after - before) * MILLISECONDS for before, after in pairwise(moments)]
    return waited, told_after


def _latency(name: str, times: list[float], target: float) -> Figure:
    return Figure(
        name=name,
        value=percentile(times, 50),
        unit="ms",
        target=target,
        at_least=False,
        note=f"p99 {percentile(times, 99):.1f} ms over {len(times)} jobs, one at a time",
    )
