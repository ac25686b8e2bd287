"""The counters agree with the rows although claiming processes are killed at random moments."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter

from sqlalchemy import update

from common.domain.job import JobState
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.fair_queue.recount import recount_running
from common.postgres.repositories.maintenance.requeue import requeue_expired
from tests.integration.repositories.support.tenant_rows import LONG_AGO, QUEUE, TenantRows

PROGRAM = "tests.integration.repositories.support.storm"
LIMIT = 3
PROCESSES = 3
KILLS = 4  # of each
CLAIMS_BETWEEN = 5


async def test_counters_equal_the_rows_after_a_storm_of_kills(
    alice: TenantRows, bob: TenantRows, database_url: str
) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantShare).values(max_running=LIMIT))
    for _ in range(150):
        await queue_jobs(alice, bob)
    storm = asyncio.gather(*(kill_repeatedly(database_url) for _ in range(PROCESSES)))
    requeued = 0
    while not storm.done():
        assert all(number <= LIMIT for number in (await running(alice)).values())
        requeued += await sweep(alice)
        await queue_jobs(alice, bob)  # the processes end about half of what they claim
    await storm
    await assert_counters_match(alice)
    requeued += await sweep(alice)
    assert requeued, "no process was killed while it held a claim"
    assert not await running(alice)
    await assert_counters_match(alice)


async def queue_jobs(alice: TenantRows, bob: TenantRows) -> None:
    await alice.queue_job(max_attempts=1000)
    await bob.queue_job(max_attempts=1000)


async def kill_repeatedly(url: str) -> None:
    for _ in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", PROGRAM, url, stdout=PIPE
        )
        try:
            await claimed(process, CLAIMS_BETWEEN)
        finally:
            process.kill()
            await process.wait()


async def claimed(process: Process, number: int) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        for _ in range(number):
            assert await process.stdout.readline()


async def sweep(alice: TenantRows) -> int:
    """Requeue all running jobs, as if every lease had expired; return their number."""
    async with alice.database.statement() as connection:
        await connection.execute(
            update(Job).where(Job.state == JobState.RUNNING).values(lease_expires_at=LONG_AGO)
        )
        requeued = await requeue_expired(connection, limit=1000)
        await recount_running(connection)
    return requeued


async def running(alice: TenantRows) -> Counter[int]:
    return Counter(
        row["tenant_id"] for row in await alice.read_rows(Job) if row["state"] is JobState.RUNNING
    )


async def assert_counters_match(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        await recount_running(connection)
        assert await recount_running(connection) == 0
    rows = await running(alice)
    for queue in await alice.read_rows(TenantQueue):
        assert (queue["queue"], queue["running"]) == (QUEUE, rows[queue["tenant_id"]])
    for share in await alice.read_rows(TenantShare):
        assert share["running"] == rows[share["tenant_id"]]
