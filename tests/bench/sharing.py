"""Whether many tenants share fairly, and fast, when one of them has most of what waits."""

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
from tests.bench.claimers import CLAIMERS, MILLISECONDS, PROCESSES, Claims, claim_together
from tests.bench.crowding import HOG_PART, QUEUE, crowd, newcomers, weigh
from tests.bench.figures import Figure, percentile
from tests.bench.rig import Rig

JOBS: Final = 2_000_000
TENANTS: Final = 10_000
AT_ONCE: Final = 8  # jobs a claim takes, as a worker with so many free places
CLAIMS: Final = 3_000  # per claimer
CLAIMED_TARGET: Final = 5_000
WEIGHED_JOBS: Final = 10_000
NEWCOMERS: Final = 20
JOBS_BETWEEN: Final = 3_000  # taken between one newcomer and the next
SERVED: Final = select(func.sum(TenantShare.running))


async def measure_sharing(rig: Rig) -> list[Figure]:
    """Fill a database with a crowd and a hog, claim as fast as can be, and see who was served."""
    crowded, weighed = await rig.new_database("crowded"), await rig.new_database("weighed")
    begun = monotonic()
    hog = await crowd(crowded, jobs=JOBS, tenants=TENANTS)
    filled = monotonic() - begun
    weights = await weigh(weighed, jobs=WEIGHED_JOBS)
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        async with _vacuuming(crowded):
            came, taken = await asyncio.gather(
                _send_newcomers(crowded), claim_together(processes, crowded, CLAIMS, AT_ONCE)
            )
        shared = await claim_together(processes, weighed, WEIGHED_JOBS // CLAIMERS, 1)
    return [
        *_speed(taken, filled),
        _hog(taken, hog),
        _newcomers(taken, came),
        *_weights(shared, weights),
    ]


@asynccontextmanager
async def _vacuuming(url: str) -> AsyncIterator[None]:
    """Do beside the block the one duty of the sweeper's that claims wait for."""
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    ended = asyncio.Event()

    async def duty() -> None:
        async with database.statement(long_lived=True) as connection:
            while not ended.is_set():
                await vacuum_counters(connection)
                await wait_for_event(ended, JobSettings().sweep_seconds)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(duty())
        try:
            yield
        finally:
            ended.set()
    await database.aclose()


async def _send_newcomers(url: str) -> dict[int, float]:
    """While they claim, let tenants ask for something for the first time; give when each did."""
    tenants = await newcomers(url, NEWCOMERS)
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    came = {}
    try:
        async with database.direct() as connection:
            for number, tenant_id in enumerate(tenants, 1):
                await _until_served(database, (NEWCOMERS + number) * JOBS_BETWEEN)
                await record_job(connection, _first_job(tenant_id))
                came[tenant_id] = monotonic()
    finally:
        await database.aclose()
    return came


async def _until_served(database: Database, jobs: int) -> None:
    """Wait until so many jobs have been taken."""
    async with database.statement() as connection:
        while (await connection.execute(SERVED)).scalar_one() < jobs:  # noqa: ASYNC110 other processes' work has no event here
            await asyncio.sleep(0.05)


def _first_job(tenant_id: int) -> NewJob:
    request = GenerationRequest(
        Endpoint.TEXT2IMG, QUEUE, "a cat", "", 512, 512, 1, 30, 7.5, strength=1.0, seed=1
    )
    return NewJob(tenant_id, uuid4(), QUEUE, request, {}, base64=False, max_attempts=3)


def _speed(taken: Claims, fill_seconds: float) -> list[Figure]:
    moments = [ended for ended, _, _ in taken.claimed]
    note = (
        f"{CLAIMERS} claimers in {PROCESSES} processes, {AT_ONCE} jobs a claim, of {JOBS:,} "
        f"waiting jobs of {TENANTS:,} tenants, filled in {fill_seconds:.0f} s"
    )
    rate = (len(moments) - AT_ONCE) / (moments[-1] - moments[0])
    slow = percentile(taken.times, 99)
    half = percentile(taken.times, 50)
    return [
        Figure("jobs claimed", rate, "/s", CLAIMED_TARGET, at_least=True, note=note),
        Figure("claim, p99", slow, "ms", 25, at_least=False, note=f"p50 {half:.2f} ms"),
    ]


def _hog(taken: Claims, hog: int) -> Figure:
    served = Counter(tenant for _, _, tenant in taken.claimed)
    share = served.total() / TENANTS
    return Figure(
        "hog's service beside its fair share, off by",
        abs(served[hog] / share - 1) * 100,
        "%",
        10,
        at_least=False,
        note=f"{served[hog]} of {served.total():,} jobs; its fair share are {share:.1f}; "
        f"it has {HOG_PART:.0%} of all that wait",
    )


def _newcomers(taken: Claims, came: dict[int, float]) -> Figure:
    claimed = {tenant: one for *one, tenant in taken.claimed if tenant in came}
    waits = [claimed[tenant][0] - moment for tenant, moment in came.items()]
    # By claims that began when it was there, before the one that took it.
    before = [
        sum(moment < begun < claimed[tenant][1] for _, begun, _ in taken.claimed)
        for tenant, moment in came.items()
    ]
    return Figure(
        "jobs claimed between a new tenant's first and its claim",
        max(before),
        "",
        CLAIMERS * AT_ONCE,
        at_least=False,
        note=f"the most of {NEWCOMERS} new tenants (median {median(before):g}); one for each free "
        f"place are {CLAIMERS * AT_ONCE}; longest wait {max(waits) * MILLISECONDS:.1f} ms",
    )


def _weights(shared: Claims, weights: dict[int, float]) -> list[Figure]:
    served = Counter(tenant for _, _, tenant in shared.claimed)
    part = served.total() / sum(weights.values())
    return [
        Figure(
            f"service of weight {weight:g}, off by",
            abs(served[tenant] / (part * weight) - 1) * 100,
            "%",
            5,
            at_least=False,
            note=f"{served[tenant]:,} of {served.total():,} claims",
        )
        for tenant, weight in weights.items()
    ]
