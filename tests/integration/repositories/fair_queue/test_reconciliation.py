"""Ledger, totals, counters and jobs agree exactly after concurrent work; differences are found."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from common.domain.job import Claim
from common.domain.record import JobResult
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.fair_queue.recount import mark_ready_tenants, recount_running
from common.postgres.repositories.jobs.finish import cancel, fail, succeed
from common.postgres.repositories.jobs.leases import release_claim, retry_later
from common.postgres.repositories.maintenance.expire import fail_abandoned
from common.postgres.repositories.maintenance.requeue import requeue_expired
from common.postgres.repositories.usage.ledger import fold_usage
from tests.chaos.judge.ledger import LedgerRows, differences, read_ledger
from tests.integration.repositories.support.tenant_rows import REQUEST, TenantRows

QUEUES = ("one", "two")
JOBS_EACH = 60
WORKERS = 6
LOSE = "UPDATE jobs SET lease_expires_at = now() WHERE id = :id AND state = 'running'"


async def accounts(database_url: str) -> LedgerRows:
    connection = await asyncpg.connect(database_url)
    try:
        return await read_ledger(connection.fetch)
    finally:
        await connection.close()


async def submit(alice: TenantRows, chance: random.Random) -> None:
    """Record jobs of odd sizes, and cancel some at once."""
    for _ in range(JOBS_EACH):
        queue = chance.choice(QUEUES)
        samples = chance.randint(1, 4)
        request = replace(
            REQUEST,
            model=queue,
            width=chance.randrange(64, 1024, 8),
            height=chance.randrange(64, 1024, 8),
            samples=samples,
            inference_steps=chance.randint(1, 50),
        )
        job_id = await alice.queue_job(queue=queue, request=request)
        if chance.random() < 0.1:
            async with alice.database.statement() as connection:
                await cancel(connection, tenant_id=alice.tenant_id, job_id=job_id)


async def end(alice: TenantRows, claim: Claim, samples: int, chance: random.Random) -> None:
    """End a claim at random; some are lost, some are ended twice."""
    keys = tuple(f"{index}.png" for index in range(samples))
    seconds = chance.uniform(0, 3)
    result = JobResult(keys, (False,) * samples, seconds, {}, seconds)
    async with alice.database.statement() as connection:
        match chance.randrange(8):
            case 0:
                await fail(connection, claim, code="x", message="y")
            case 1:
                await retry_later(connection, claim, seconds=0, code="x", message="y")
            case 2:
                await release_claim(connection, claim)
            case 3:
                lost = text(LOSE)
                await connection.execute(lost.bindparams(id=claim.job_id))
                await requeue_expired(connection, limit=10)
                await succeed(connection, claim, result)  # too late, unless it was its last attempt
            case _:
                twice = (succeed(connection, claim, result) for _ in range(2))
                assert [await one is None for one in twice].count(False) <= 1


async def work(alice: TenantRows, chance: random.Random, *, until: Callable[[], bool]) -> None:
    while True:
        over = until()
        async with alice.database.statement() as connection:
            claimed = await claim_jobs(
                connection, queues=QUEUES, worker="w", lease_seconds=60, limit=2
            )
        for job in (one.record for one in claimed.jobs):
            await end(alice, job.claim, job.request.samples, chance)
        if over and not claimed:
            return


async def sweep(alice: TenantRows, limit: int) -> int:
    async with alice.database.statement() as connection:
        await requeue_expired(connection, limit=10)
        await fail_abandoned(connection, limit=10)
        await recount_running(connection)
        await mark_ready_tenants(connection)
        return await fold_usage(connection, limit=limit)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_everything_agrees_after_concurrent_work(
    alice: TenantRows, bob: TenantRows, database_url: str, seed: int
) -> None:
    submitted = False
    worked = asyncio.Event()

    async def keep_sweeping() -> None:
        while not worked.is_set():
            await sweep(alice, limit=7)

    async with asyncio.TaskGroup() as sweeping:
        sweeping.create_task(keep_sweeping())
        async with asyncio.TaskGroup() as working:
            for number in range(WORKERS):
                chance = random.Random(seed * 100 + number)
                working.create_task(work(alice, chance, until=lambda: submitted))
            async with asyncio.TaskGroup() as submitting:
                for number, whose in enumerate((alice, bob)):
                    submitting.create_task(submit(whose, random.Random(seed + number)))
            submitted = True
        worked.set()
    midway = await accounts(database_url)
    assert differences(replace(midway, queues=(), shares=())) == []
    while await sweep(alice, limit=7) or any(
        job["state"] in {"queued", "running"} for job in (await accounts(database_url)).jobs
    ):
        await work(alice, random.Random(seed), until=lambda: True)
    settled = await accounts(database_url)
    assert differences(settled) == []
    assert settled.marks == []
    assert len(settled.jobs) == 2 * JOBS_EACH
    assert len(settled.entries) > JOBS_EACH / 2
    assert {row["running"] for row in (*settled.queues, *settled.shares)} == {0}


CHANGES: dict[str, str] = {
    "charged 0 times": "DELETE FROM usage_entries WHERE job_id = 1",
    "job 2 is canceled and was charged 1 times": "UPDATE jobs SET state = 'canceled', result = NULL"
    " WHERE id = 2",
    "which is unknown": "DELETE FROM jobs WHERE id = 1",
    "charged flagged_images 1, not 0": "UPDATE usage_entries SET flagged_images = 1"
    " WHERE job_id = 1",
    "charged megapixel_steps 10.000001, not 10": "UPDATE usage_entries SET megapixel_steps ="
    " megapixel_steps + 0.000001 WHERE job_id = 1",
    "charged gpu_milliseconds 1911, not 1910": "UPDATE usage_entries SET gpu_milliseconds = 1911"
    " WHERE job_id = 1",
    "charged images 3, not 2": "UPDATE usage_entries SET images = 3 WHERE job_id = 1",
    "charged model x, not": "UPDATE usage_entries SET model = 'x' WHERE job_id = 1",
    "usage of": "UPDATE daily_usage SET megapixel_steps = megapixel_steps - 0.000001",
    "the totals [1, 2": "DELETE FROM daily_usage",
    "the ledger has [2, 4": "DELETE FROM unfolded_usage",
    "no such entry": "UPDATE unfolded_usage SET tenant_id = tenant_id + 1",
    "tenant_queues counts 1": "UPDATE tenant_queues SET running = 1",
    "tenant_shares counts 1": "UPDATE tenant_shares SET running = 1",
    "which are not counted": "UPDATE jobs SET state = 'running', lease_expires_at = now() WHERE"
    " id = 3; DELETE FROM tenant_queues",
}


@pytest.mark.parametrize("message", CHANGES)
async def test_every_difference_is_found(
    alice: TenantRows, database_url: str, message: str
) -> None:
    result = JobResult(("a", "b"), (False, False), 1.91, {}, 1.91)
    for _ in range(4):
        await alice.queue_job()
    for number in range(2):
        claim = await _claim(alice)
        async with alice.database.statement() as connection:
            assert await succeed(connection, claim, result) is not None
            if number == 0:
                await fold_usage(connection, limit=1)
    assert differences(await accounts(database_url)) == []
    connection = await asyncpg.connect(database_url)
    await connection.execute(CHANGES[message])
    await connection.close()
    found = "\n".join(differences(await accounts(database_url)))
    assert message in found


async def _claim(alice: TenantRows) -> Claim:
    job: Any = await alice.claim_job()
    claim: Claim = job.claim
    return claim
