"""Claimers are killed again and again, at any place; the books still agree with the rows."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter

from sqlalchemy import update

from common.domain.job import JobState
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.fair_queue.recount import recount_running
from common.postgres.repositories.maintenance.requeue import requeue_expired
from tests.integration.repositories.support.counters import LONG_AGO, QUEUE, Books

PROGRAM = "tests.integration.repositories.support.storm"
LIMIT = 3
PROCESSES = 3
KILLS = 4  # of each
CLAIMS_BETWEEN = 5


async def test_counters_equal_the_rows_after_a_storm_of_kills(
    books: Books, other_books: Books, database_url: str
) -> None:
    async with books.database.statement() as connection:
        await connection.execute(update(TenantShare).values(max_running=LIMIT))
    for _ in range(150):
        await books.queued(max_attempts=1000)
        await other_books.queued(max_attempts=1000)
    storm = asyncio.gather(*(kill_again_and_again(database_url) for _ in range(PROCESSES)))
    taken_back = 0
    while not storm.done():
        assert all(number <= LIMIT for number in (await running(books)).values())
        taken_back += await sweep(books)
    await storm
    await books_agree(books)
    taken_back += await sweep(books)
    assert taken_back, "nobody was killed while at work"
    assert not await running(books)
    await books_agree(books)


async def kill_again_and_again(url: str) -> None:
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


async def sweep(books: Books) -> int:
    """Take everything back, as if no lease had been renewed for long, also from those who live."""
    async with books.database.statement() as connection:
        await connection.execute(
            update(Job).where(Job.state == JobState.RUNNING).values(lease_expires_at=LONG_AGO)
        )
        taken_back = await requeue_expired(connection, limit=1000)
        await recount_running(connection)
    return taken_back


async def running(books: Books) -> Counter[int]:
    return Counter(
        row["tenant_id"] for row in await books.rows(Job) if row["state"] is JobState.RUNNING
    )


async def books_agree(books: Books) -> None:
    async with books.database.statement() as connection:
        await recount_running(connection)
        assert await recount_running(connection) == 0
    rows = await running(books)
    for queue in await books.rows(TenantQueue):
        assert (queue["queue"], queue["running"]) == (QUEUE, rows[queue["tenant_id"]])
    for share in await books.rows(TenantShare):
        assert share["running"] == rows[share["tenant_id"]]
