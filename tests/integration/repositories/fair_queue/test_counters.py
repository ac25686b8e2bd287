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
from tests.integration.repositories.support.tenant_rows import LONG_AGO, QUEUE, REQUEST, TenantRows

CLAIMERS = 16
LIMIT = 3


async def counters(alice: TenantRows) -> tuple[int, int]:
    """Give how many of the tenant's jobs run by its queue's counter, and by its own."""
    (queue,), (share,) = await alice.read_rows(TenantQueue), await alice.read_rows(TenantShare)
    return queue["running"], share["running"]


async def running(alice: TenantRows) -> JobRecord:
    """Record a job and take it, and whatever else waits: none is left."""
    job_id = await alice.queue_job()
    async with alice.database.direct() as connection:
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
async def test_who_leaves_is_counted_out_once(alice: TenantRows, leaving: str) -> None:
    job = await running(alice)
    await running(alice)
    assert await counters(alice) == (2, 2)
    async with alice.database.direct() as connection:
        assert await LEAVINGS[leaving](connection, job)
        assert not await LEAVINGS[leaving](connection, job)
    assert await counters(alice) == (1, 1)


async def test_a_waiting_job_that_is_canceled_was_not_counted(alice: TenantRows) -> None:
    job_id = await alice.queue_job()
    async with alice.database.direct() as connection:
        assert await cancel(connection, tenant_id=alice.tenant_id, job_id=job_id)
    assert await counters(alice) == (0, 0)


@pytest.mark.parametrize(("seconds", "ready"), [(0.0, True), (60.0, False)])
async def test_a_job_given_back_is_work_again_when_its_time_has_come(
    alice: TenantRows, seconds: float, *, ready: bool
) -> None:
    job = await running(alice)
    async with alice.database.direct() as connection:
        await release_claim(connection, job.claim, seconds=seconds)
    (queue,) = await alice.read_rows(TenantQueue)
    assert queue["has_ready"] is ready


async def test_limits_hold_exactly_under_sixteen_claimers(alice: TenantRows) -> None:
    """Each looks at the rows themselves after each of its claims, and ends one job later."""
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantShare).values(max_running=LIMIT))
    for _ in range(120):
        await alice.queue_job()
    seen: list[int] = []

    async def claimer(at_once: int) -> int:
        done = 0
        async with alice.database.direct() as connection:
            while await has_queued_jobs(alice):
                claimed = await claim_jobs(
                    connection, queues=[QUEUE], worker="w", lease_seconds=60, limit=at_once
                )
                seen.append(await count(alice, JobState.RUNNING))
                for job in (one.record for one in claimed.jobs):
                    assert await fail(connection, job.claim, code="x", message="x")
                    done += 1
        return done

    done = await asyncio.gather(*(claimer(1 + number % 3) for number in range(CLAIMERS)))
    assert sum(done) == 120
    assert max(seen) == LIMIT
    assert await counters(alice) == (0, 0)


async def count(alice: TenantRows, state: JobState) -> int:
    asked = select(func.count()).select_from(Job).where(Job.state == state)
    async with alice.database.statement() as connection:
        return int((await connection.execute(asked)).scalar_one())


async def has_queued_jobs(alice: TenantRows) -> bool:
    return await count(alice, JobState.QUEUED) > 0


async def test_what_the_sweeper_takes_back_is_counted_out_by_its_recount(alice: TenantRows) -> None:
    taken, abandoned = await running(alice), await running(alice)
    await alice.set_job(taken.id, lease_expires_at=LONG_AGO)
    await alice.set_job(abandoned.id, lease_expires_at=LONG_AGO, max_attempts=1)
    async with alice.database.statement() as connection:
        assert await requeue_expired(connection, limit=9) == 1
        assert len(await fail_abandoned(connection, limit=9)) == 1
        # Until the recount a limit is held more strictly, never less.
        assert await counters(alice) == (2, 2)
        assert await recount_running(connection) == 2
        assert await mark_ready_tenants(connection) == 1
        assert await recount_running(connection) == 0
    assert await counters(alice) == (0, 0)


@pytest.mark.parametrize("wrong", [0, 9])
async def test_counters_that_went_wrong_are_set_right(alice: TenantRows, wrong: int) -> None:
    await running(alice)
    await alice.queue_job(queue="elsewhere")
    async with alice.database.statement() as connection:
        for table in (TenantQueue, TenantShare):
            await connection.execute(update(table).values(running=wrong))
        await recount_running(connection)
    assert {row["queue"]: row["running"] for row in await alice.read_rows(TenantQueue)} == {
        QUEUE: 1,
        "elsewhere": 0,
    }
    assert [row["running"] for row in await alice.read_rows(TenantShare)] == [1]


async def test_a_recount_leaves_alone_what_changes_meanwhile(alice: TenantRows) -> None:
    """It waits for the claim holder's commit, and then sees that its own numbers are old."""
    job = await running(alice)
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(running=5))
    async with alice.database.transaction() as ending, alice.database.statement() as sweeping:
        await fail(ending, job.claim, code="x", message="x")
        recount = asyncio.create_task(recount_running(sweeping))
        await blocked(alice)
        await ending.commit()
        await recount
    assert (await alice.read_rows(TenantQueue))[0]["running"] == 4
    async with alice.database.statement() as connection:
        await recount_running(connection)
    assert await counters(alice) == (0, 0)


async def blocked(alice: TenantRows) -> None:
    """Wait until somebody waits for a lock."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(20), alice.database.statement() as connection:
        while not (await connection.exec_driver_sql(asked)).scalar_one():
            pass


async def test_backlogs_are_the_work_that_waits(alice: TenantRows, bob: TenantRows) -> None:
    for _ in range(3):
        await alice.queue_job()
    await bob.queue_job()
    await bob.claim_job()
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(backlog=77.0))
        await recount_backlogs(connection)
    found = {row["tenant_id"]: row["backlog"] for row in await alice.read_rows(TenantQueue)}
    # The claim took whoever was next: two of the four jobs' tenants are known by what is left.
    assert sum(found.values()) == pytest.approx(3 * REQUEST.cost)


async def test_a_fenced_claim_counts_nothing_out(alice: TenantRows) -> None:
    job = await running(alice)
    stale = Claim(job.id, job.attempt + 1)
    async with alice.database.direct() as connection:
        assert await fail(connection, stale, code="x", message="x") is None
    assert await counters(alice) == (1, 1)
