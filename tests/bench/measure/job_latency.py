"""Latency of one job at a time through the whole stack."""

import json
from itertools import pairwise

import httpx2

from common.postgres.repositories.jobs.read import read_job
from deploy.local.stack import dispatcher_process, worker_process
from tests.bench.figures import Figure, percentile
from tests.bench.rig.stack import Rig
from tests.bench.sizes import Sizes

MILLISECONDS = 1000


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Send jobs one after another, each when the webhook of the one before has arrived."""
    gateway = await rig.start_gateway()
    await rig.processes.start(worker_process())
    await rig.processes.start(dispatcher_process())
    starts: list[float] = []
    arrivals: list[float] = []
    async with httpx2.AsyncClient(trust_env=False) as client:
        for number in range(sizes.latency.warm_up + sizes.latency.jobs):
            waited, sent = await _send_one(rig, client, gateway)
            if number >= sizes.latency.warm_up:
                starts.append(waited)
                arrivals.append(sent)
    return [
        _latency("accepted to generation starts, p50", starts, 15),
        _latency("finish committed to webhook arrives, p50", arrivals, 20),
    ]


async def _send_one(rig: Rig, client: httpx2.AsyncClient, gateway: int) -> tuple[float, float]:
    """Return milliseconds from accepted to started, and from committed to webhook arrival."""
    job_id = await rig.send_job(client, gateway)
    call = await rig.samples.calls.get()
    body = json.loads(call.body)
    assert (body["status"], body["id"]) == ("success", job_id), body
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
    waited, _, sent_after = [(after - before) * MILLISECONDS for before, after in pairwise(moments)]
    return waited, sent_after


def _latency(name: str, times: list[float], target: float) -> Figure:
    return Figure(
        name=name,
        value=percentile(times, 50),
        unit="ms",
        target=target,
        at_least=False,
        note=f"p99 {percentile(times, 99):.1f} ms over {len(times)} jobs, one at a time",
    )
