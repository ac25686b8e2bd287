"""CPU time of a job outside its generation, summed over every process."""

import asyncio

import httpx2

from deploy.local.stack import dispatcher_process, worker_process
from tests.bench.figures import Figure
from tests.bench.load.http_load import run_load
from tests.bench.rig.cpu import cpu_by_name
from tests.bench.rig.stack import Rig
from tests.bench.sizes import JobCpuSizes, Sizes

MILLISECONDS = 1000


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Count it for jobs one at a time, for a steady stream, and for bare requests to compare.

    How much work a millisecond of CPU does differs from machine to machine and, where cores are
    shared, from minute to minute: the bare request shows how much.
    """
    load = sizes.job_cpu
    gateway, bare = await rig.start_gateway(), await rig.start_bare_gateway()
    await rig.processes.start(worker_process())
    await rig.processes.start(dispatcher_process())
    per_request = await _bare_request(rig, bare, load)
    async with httpx2.AsyncClient(trust_env=False) as client:
        await _run_jobs(rig, client, gateway, load.warm_up, at_once=1)
        figures = []
        for name, at_once in (("one at a time", 1), (f"{load.stream} at once", load.stream)):
            before = cpu_by_name(rig.pids)
            await _run_jobs(rig, client, gateway, load.jobs, at_once=at_once)
            figures.append(_figure(name, _spent(rig, before, load.jobs), per_request, load.jobs))
    return figures


async def _bare_request(rig: Rig, port: int, sizes: JobCpuSizes) -> float:
    before = cpu_by_name(rig.pids)
    body = rig.request(key=str(rig.tenant_id))
    requests = sizes.bare_requests
    await run_load(port, "/submit", body, connections=sizes.stream, requests=requests)
    return sum(_spent(rig, before, requests).values())


async def _run_jobs(
    rig: Rig, client: httpx2.AsyncClient, gateway: int, jobs: int, *, at_once: int
) -> None:
    """Keep `at_once` jobs under way, each sent when the webhook of an earlier one has arrived."""
    left = iter(range(jobs))

    async def lane() -> None:
        for _ in left:
            await rig.send_job(client, gateway)
            await rig.samples.calls.get()

    await asyncio.gather(*(lane() for _ in range(at_once)))


def _spent(rig: Rig, before: dict[str, float], times: int) -> dict[str, float]:
    after = cpu_by_name(rig.pids)
    return {name: (after[name] - used) / times * MILLISECONDS for name, used in before.items()}


def _figure(name: str, spent: dict[str, float], per_request: float, jobs: int) -> Figure:
    total = sum(spent.values())
    parts = ", ".join(f"{part} {used:.2f}" for part, used in spent.items() if used)
    return Figure(
        name=f"CPU of one job outside generation, {name}",
        value=total,
        unit="ms",
        target=10,
        at_least=False,
        note=f"{jobs} jobs of 64 × 64 pixels, the engine returns its input: {parts}; "
        f"a bare request of the same run costs {per_request:.2f} ms, a {total / per_request:.1f}th",
    )
