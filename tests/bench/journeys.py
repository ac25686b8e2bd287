"""One job at a time through the whole stack: how long it waits, and what it costs."""

import json
from itertools import pairwise

import httpx2

from common.repositories.readings import read_job
from tests.bench.cpu import cpu_by_name
from tests.bench.figures import Figure, percentile
from tests.bench.rig import Rig

JOBS = 300
WARM_UP = 30
MILLISECONDS = 1000


async def measure_journeys(rig: Rig, gateway: int) -> list[Figure]:
    """Send jobs one after another, each when the webhook of the one before has come."""
    webhook = f"{rig.beside.base_url}/webhook"
    starts: list[float] = []
    arrivals: list[float] = []
    async with httpx2.AsyncClient(trust_env=False) as client:
        for _ in range(WARM_UP):
            await _journey(rig, client, gateway, webhook)
        before = cpu_by_name(rig.supervisor.pids)
        for _ in range(JOBS):
            waited, told = await _journey(rig, client, gateway, webhook)
            starts.append(waited)
            arrivals.append(told)
        after = cpu_by_name(rig.supervisor.pids)
    spent = {name: (after[name] - used) / JOBS * MILLISECONDS for name, used in before.items()}
    return [
        _latency("accepted to generation starts, p50", starts, 15),
        _latency("finish committed to webhook arrives, p50", arrivals, 20),
        Figure(
            name="CPU of one job outside generation",
            value=sum(spent.values()),
            unit="ms",
            target=10,
            at_least=False,
            note=f"{JOBS} jobs of 64 × 64 pixels, the engine gives back its input: "
            + ", ".join(f"{name} {used:.2f}" for name, used in spent.items()),
        ),
    ]


async def _journey(
    rig: Rig, client: httpx2.AsyncClient, gateway: int, webhook: str
) -> tuple[float, float]:
    """Give the milliseconds from accepted to started, and from committed to told."""
    url = f"http://127.0.0.1:{gateway}/api/v3/inpaint"
    answer = (await client.post(url, json=rig.request(webhook=webhook))).json()
    call = await rig.beside.calls.get()
    told = json.loads(call.body)
    assert told["status"] == "success" and told["id"] == answer["id"], told  # noqa: PT018 - one fact
    async with rig.database.statement() as connection:
        view = await read_job(connection, tenant_id=rig.tenant_id, job_id=answer["id"])
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
