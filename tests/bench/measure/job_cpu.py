"""What a job costs in CPU time beside its generation, every process counted."""

import asyncio

import httpx2

from tests.bench.figures import Figure
from tests.bench.rig.cpu import cpu_by_name
from tests.bench.rig.stack import Rig, load

JOBS = 400
WARM_UP = 40
STREAM = 16
BARE_REQUESTS = 3_000
MILLISECONDS = 1000


async def measure_costs(rig: Rig, gateway: int, bare: int) -> list[Figure]:
    """Count for jobs one at a time and for a steady stream; and for bare requests, to compare.

    How much work a millisecond of CPU does differs from machine to machine and, where cores are
    shared, from minute to minute: the bare request is the measure of that.
    """
    per_request = await _bare_request(rig, bare)
    async with httpx2.AsyncClient(trust_env=False) as client:
        await _run_jobs(rig, client, gateway, WARM_UP, at_once=1)
        figures = []
        for name, at_once in (("one at a time", 1), (f"{STREAM} at once", STREAM)):
            before = cpu_by_name(rig.supervisor.pids)
            await _run_jobs(rig, client, gateway, JOBS, at_once=at_once)
            figures.append(_figure(name, _spent(rig, before, JOBS), per_request))
    return figures


async def _bare_request(rig: Rig, port: int) -> float:
    before = cpu_by_name(rig.supervisor.pids)
    body = rig.request(key=str(rig.tenant_id))
    await load(port, "/submit", body, connections=STREAM, requests=BARE_REQUESTS)
    return sum(_spent(rig, before, BARE_REQUESTS).values())


async def _run_jobs(
    rig: Rig, client: httpx2.AsyncClient, gateway: int, jobs: int, *, at_once: int
) -> None:
    """Keep `at_once` jobs under way, each sent when the webhook of an earlier one has come."""
    left = iter(range(jobs))

    async def lane() -> None:
        for _ in left:
            await rig.send_job(client, gateway)
            await rig.beside.calls.get()

    await asyncio.gather(*(lane() for _ in range(at_once)))


def _spent(rig: Rig, before: dict[str, float], times: int) -> dict[str, float]:
    after = cpu_by_name(rig.supervisor.pids)
    return {name: (after[name] - used) / times * MILLISECONDS for name, used in before.items()}


def _figure(name: str, spent: dict[str, float], per_request: float) -> Figure:
    total = sum(spent.values())
    parts = ", ".join(f"{part} {used:.2f}" for part, used in spent.items() if used)
    return Figure(
        name=f"CPU of one job outside generation, {name}",
        value=total,
        unit="ms",
        target=10,
        at_least=False,
        note=f"{JOBS} jobs of 64 × 64 pixels, the engine gives back its input: {parts}; "
        f"a bare request of the same run costs {per_request:.2f} ms, a {total / per_request:.1f}th",
    )
