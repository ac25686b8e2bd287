"""The counters of running jobs: changed with the rows, held exactly, and derived anew."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import func, select, update

from common.domain.job import Claim, JobState
from common.domain.record import JobRecord, JobResult
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.fair_queue.recount import (
    mark_ready_tenants,
    recount_backlogs,
    recount_running,
)
from common.postgres.repositories.jobs.finish import cancel, fail, succeed
from common.postgres.repositories.jobs.leases import release_claim, retry_later
from common.postgres.repositories.maintenance.expire import fail_abandoned
from common.postgres.repositories.maintenance.requeue import requeue_expired
from common.postgres.statements import Executor
from tests.integration.repositories.support.counters import LONG_AGO, QUEUE, REQUEST, Books

CLAIMERS = 16
LIMIT = 3


async def counters(books: Books) -> tuple[int, int]:
    """Give how many of the tenant's jobs run by its queue's counter, and by its own."""
    (queue,), (share,) = await books.rows(TenantQueue), await books.rows(TenantShare)
    return queue["running"], share["running"]


async def running(books: Books) -> JobRecord:
    """Record a job and take it, and whatever else waits: none is left."""
    job_id = await books.queued()
    async with books.database.direct() as connection:
        claimed = await claim_jobs(
            connection, queues=[QUEUE], worker="w", lease_seconds=60, limit=5
        )
    (job,) = (job.record for job in claimed.jobs if job.record.id == job_id)
    return job


Leaving = Callable[[Executor, JobRecord], Awaitable[Any]]
LEAVINGS: dict[str, Leaving] = {
    "succeed": lambda c, job: succeed(c, job.claim, JobResult(("a",), (False,), 1.0, {}, 1.0)),
    "fail": lambda c, job: fail(c, job.claim, code="x", message="x"),
    "cancel": lambda c, job: cancel(c, tenant_id=job.tenant_id, job_id=job.id),
    "release": lambda c, job: release_claim(c, job.claim),
    "retry": lambda c, job: retry_later(c, job.claim, seconds=60, code="x", message="x"),
}


@pytest.mark.parametrize("leaving", LEAVINGS)
async def test_who_leaves_is_counted_out_once(books: Books, leaving: str) -> None:
    job = await running(books)
    await running(books)
    assert await counters(books) == (2, 2)
    async with books.database.direct() as connection:
        assert await LEAVINGS[leaving](connection, job)
        assert not await LEAVINGS[leaving](connection, job)
    assert await counters(books) == (1, 1)


async def test_a_waiting_job_that_is_canceled_was_not_counted(books: Books) -> None:
    job_id = await books.queued()
    async with books.database.direct() as connection:
        assert await cancel(connection, tenant_id=books.tenant_id, job_id=job_id)
    assert await counters(books) == (0, 0)


@pytest.mark.parametrize(("seconds", "ready"), [(0.0, True), (60.0, False)])
async def test_a_job_given_back_is_work_again_when_its_time_has_come(
    books: Books, seconds: float, *, ready: bool
) -> None:
    job = await running(books)
    async with books.database.direct() as connection:
        await release_claim(connection, job.claim, seconds=seconds)
    (queue,) = await books.rows(TenantQueue)
    assert queue["has_ready"] is ready


async def test_limits_hold_exactly_under_sixteen_claimers(books: Books) -> None:
    """Each looks at the rows themselves after each of its claims, and ends one job later."""
    async with books.database.statement() as connection:
        await connection.execute(update(TenantShare).values(max_running=LIMIT))
    for _ in range(120):
        await books.queued()
    seen: list[int] = []

    async def claimer(at_once: int) -> int:
        done = 0
        async with books.database.direct() as connection:
            while await waiting(books):
                claimed = await claim_jobs(
                    connection, queues=[QUEUE], worker="w", lease_seconds=60, limit=at_once
                )
                seen.append(await count(books, JobState.RUNNING))
                for job in (one.record for one in claimed.jobs):
                    assert await fail(connection, job.claim, code="x", message="x")
                    done += 1
        return done

    done = await asyncio.gather(*(claimer(1 + number % 3) for number in range(CLAIMERS)))
    assert sum(done) == 120
    assert max(seen) == LIMIT
    assert await counters(books) == (0, 0)


async def count(books: Books, state: JobState) -> int:
    asked = select(func.count()).select_from(Job).where(Job.state == state)
    async with books.database.statement() as connection:
        return int((await connection.execute(asked)).scalar_one())


async def waiting(books: Books) -> bool:
    return await count(books, JobState.QUEUED) > 0


async def test_what_the_sweeper_takes_back_is_counted_out_by_its_recount(books: Books) -> None:
    taken, abandoned = await running(books), await running(books)
    await books.set_job(taken.id, lease_expires_at=LONG_AGO)
    await books.set_job(abandoned.id, lease_expires_at=LONG_AGO, max_attempts=1)
    async with books.database.statement() as connection:
        assert await requeue_expired(connection, limit=9) == 1
        assert len(await fail_abandoned(connection, limit=9)) == 1
        # Until the recount a limit is held more strictly, never less.
        assert await counters(books) == (2, 2)
        assert await recount_running(connection) == 2
        assert await mark_ready_tenants(connection) == 1
        assert await recount_running(connection) == 0
    assert await counters(books) == (0, 0)


@pytest.mark.parametrize("wrong", [0, 9])
async def test_counters_that_went_wrong_are_set_right(books: Books, wrong: int) -> None:
    await running(books)
    await books.queued(queue="elsewhere")
    async with books.database.statement() as connection:
        for table in (TenantQueue, TenantShare):
            await connection.execute(update(table).values(running=wrong))
        await recount_running(connection)
    assert {row["queue"]: row["running"] for row in await books.rows(TenantQueue)} == {
        QUEUE: 1,
        "elsewhere": 0,
    }
    assert [row["running"] for row in await books.rows(TenantShare)] == [1]


async def test_a_recount_leaves_alone_what_changes_meanwhile(books: Books) -> None:
    """It waits for the claim holder's commit, and then sees that its own numbers are old."""
    job = await running(books)
    async with books.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(running=5))
    async with books.database.transaction() as ending, books.database.statement() as sweeping:
        await fail(ending, job.claim, code="x", message="x")
        recount = asyncio.create_task(recount_running(sweeping))
        await blocked(books)
        await ending.commit()
        await recount
    assert (await books.rows(TenantQueue))[0]["running"] == 4
    async with books.database.statement() as connection:
        await recount_running(connection)
    assert await counters(books) == (0, 0)


async def blocked(books: Books) -> None:
    """Wait until somebody waits for a lock."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(20), books.database.statement() as connection:
        while not (await connection.exec_driver_sql(asked)).scalar_one():
            pass


async def test_backlogs_are_the_work_that_waits(books: Books, other_books: Books) -> None:
    for _ in range(3):
        await books.queued()
    await other_books.queued()
    await other_books.claim()
    async with books.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(backlog=77.0))
        await recount_backlogs(connection)
    found = {row["tenant_id"]: row["backlog"] for row in await books.rows(TenantQueue)}
    # The claim took whoever was next: two of the four jobs' tenants are known by what is left.
    assert sum(found.values()) == pytest.approx(3 * REQUEST.cost)


async def test_a_fenced_claim_counts_nothing_out(books: Books) -> None:
    job = await running(books)
    stale = Claim(job.id, job.attempt + 1)
    async with books.database.direct() as connection:
        assert await fail(connection, stale, code="x", message="x") is None
    assert await counters(books) == (1, 1)
