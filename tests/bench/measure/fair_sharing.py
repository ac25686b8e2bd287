"""Claims per second and fairness between tenants, when one of them has most waiting jobs."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context
from statistics import median
from typing import Final
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy import func, select

from common.domain.generation import Endpoint, GenerationRequest
from common.domain.record import NewJob
from common.postgres.database import Database
from common.postgres.models import TenantShare
from common.postgres.repositories.jobs.record import record_job
from common.postgres.repositories.maintenance.vacuum import vacuum_counters
from common.runtime.asyncio_tools import wait_for_event
from common.runtime.clock import monotonic
from common.settings import DatabaseSettings, JobSettings
from tests.bench.data.waiting_jobs import HOG_PART, QUEUE, crowd, newcomers, weigh
from tests.bench.figures import Figure, percentile
from tests.bench.load.claimers import MILLISECONDS, Claims, claim_together
from tests.bench.rig.stack import Rig
from tests.bench.sizes import SharingSizes, Sizes

AT_ONCE: Final = 8  # jobs per claim, as of a worker with so many free slots
CLAIMED_TARGET: Final = 5_000
CLAIMED: Final = select(func.sum(TenantShare.running))


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Fill a database with a crowd and a hog, claim as fast as possible, and compare shares."""
    load = sizes.sharing
    crowded, weighed = await rig.new_database("crowded"), await rig.new_database("weighed")
    begun = monotonic()
    hog = await crowd(crowded, jobs=load.jobs, tenants=load.tenants)
    filled = monotonic() - begun
    weights = await weigh(weighed, jobs=load.weighed_jobs)
    with ProcessPoolExecutor(load.processes, get_context("spawn")) as processes:
        async with _vacuuming(crowded):
            came, taken = await asyncio.gather(
                _send_newcomers(crowded, load),
                claim_together(processes, crowded, load, claims=load.claims, at_once=AT_ONCE),
            )
        each = load.weighed_jobs // (load.processes * load.claimers)
        shared = await claim_together(processes, weighed, load, claims=each, at_once=1)
    return [
        *_speed(taken, filled, load),
        _hog(taken, hog, load),
        _newcomers(taken, came, load),
        *_weights(shared, weights),
    ]


@asynccontextmanager
async def _vacuuming(url: str) -> AsyncIterator[None]:
    """Vacuum the queues beside the block, as the sweeper does: claims depend on it."""
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    ended = asyncio.Event()

    async def vacuum() -> None:
        async with database.statement(long_lived=True) as connection:
            while not ended.is_set():
                await vacuum_counters(connection)
                await wait_for_event(ended, JobSettings().sweep_seconds)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(vacuum())
        try:
            yield
        finally:
            ended.set()
    await database.aclose()


async def _send_newcomers(url: str, load: SharingSizes) -> dict[int, float]:
    """Submit the first job of new tenants while others claim; return when each was sent."""
    tenants = await newcomers(url, load.newcomers)
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    came = {}
    try:
        async with database.direct() as connection:
            for number, tenant_id in enumerate(tenants, 1):
                await _until_claimed(database, (load.newcomers + number) * load.jobs_between)
                await record_job(connection, _first_job(tenant_id))
                came[tenant_id] = monotonic()
    finally:
        await database.aclose()
    return came


async def _until_claimed(database: Database, jobs: int) -> None:
    """Wait until so many jobs have been claimed."""
    async with database.statement() as connection:
        while (await connection.execute(CLAIMED)).scalar_one() < jobs:  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(0.05)


def _first_job(tenant_id: int) -> NewJob:
    request = GenerationRequest(
        Endpoint.TEXT2IMG, QUEUE, "a cat", "", 512, 512, 1, 30, 7.5, strength=1.0, seed=1
    )
    return NewJob(tenant_id, uuid4(), QUEUE, request, {}, base64=False, max_attempts=3)


def _speed(taken: Claims, fill_seconds: float, load: SharingSizes) -> list[Figure]:
    moments = [ended for ended, _, _ in taken.claimed]
    note = (
        f"{load.processes * load.claimers} claimers in {load.processes} processes, {AT_ONCE} jobs "
        f"a claim, of {load.jobs:,} waiting jobs of {load.tenants:,} tenants, "
        f"filled in {fill_seconds:.0f} s"
    )
    rate = (len(moments) - AT_ONCE) / (moments[-1] - moments[0])
    slow = percentile(taken.times, 99)
    half = percentile(taken.times, 50)
    return [
        Figure("jobs claimed", rate, "/s", CLAIMED_TARGET, at_least=True, note=note),
        Figure("claim, p99", slow, "ms", 25, at_least=False, note=f"p50 {half:.2f} ms"),
    ]


def _hog(taken: Claims, hog: int, load: SharingSizes) -> Figure:
    served = Counter(tenant for _, _, tenant in taken.claimed)
    share = served.total() / load.tenants
    return Figure(
        "hog's jobs claimed, deviation from its fair share",
        abs(served[hog] / share - 1) * 100,
        "%",
        10,
        at_least=False,
        note=f"{served[hog]} of {served.total():,} jobs; its fair share is {share:.1f}; "
        f"it has {HOG_PART:.0%} of all waiting jobs",
    )


def _newcomers(taken: Claims, came: dict[int, float], load: SharingSizes) -> Figure:
    claimed = {tenant: one for *one, tenant in taken.claimed if tenant in came}
    waits = [claimed[tenant][0] - moment for tenant, moment in came.items()]
    # By claims that began when it was queued, before the claim that included it.
    before = [
        sum(moment < begun < claimed[tenant][1] for _, begun, _ in taken.claimed)
        for tenant, moment in came.items()
    ]
    slots = load.processes * load.claimers * AT_ONCE
    return Figure(
        "jobs claimed between a new tenant's first and its claim",
        max(before),
        "",
        slots,
        at_least=False,
        note=f"the most of {len(came)} new tenants (median {median(before):g}); one for each free "
        f"slot is {slots}; longest wait {max(waits) * MILLISECONDS:.1f} ms",
    )


def _weights(shared: Claims, weights: dict[int, float]) -> list[Figure]:
    served = Counter(tenant for _, _, tenant in shared.claimed)
    part = served.total() / sum(weights.values())
    return [
        Figure(
            f"claims of weight {weight:g}, deviation from its share",
            abs(served[tenant] / (part * weight) - 1) * 100,
            "%",
            5,
            at_least=False,
            note=f"{served[tenant]:,} of {served.total():,} claims",
        )
        for tenant, weight in weights.items()
    ]
