"""Counters of running jobs: updated with the rows, exact against limits, and recounted."""

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


async def read_counters(alice: TenantRows) -> tuple[int, int]:
    """Return the running jobs by the counters of the tenant's queue and of its share."""
    (queue,), (share,) = await alice.read_rows(TenantQueue), await alice.read_rows(TenantShare)
    return queue["running"], share["running"]


async def add_running_job(alice: TenantRows) -> JobRecord:
    """Record a job and claim it, with all other queued jobs; return it."""
    job_id = await alice.queue_job()
    async with alice.database.direct() as connection:
        claimed = await claim_jobs(
            connection, queues=[QUEUE], worker="w", lease_seconds=60, limit=5
        )
    (job,) = (job.record for job in claimed.jobs if job.record.id == job_id)
    return job


Ending = Callable[[Executor, JobRecord], Awaitable[Any]]
ENDINGS: dict[str, Ending] = {
    "succeed": lambda c, job: succeed(c, job.claim, JobResult(("a",), (False,), 1.0, {}, 1.0)),
    "fail": lambda c, job: fail(c, job.claim, code="x", message="x"),
    "cancel": lambda c, job: cancel(c, tenant_id=job.tenant_id, job_id=job.id),
    "release": lambda c, job: release_claim(c, job.claim),
    "retry": lambda c, job: retry_later(c, job.claim, seconds=60, code="x", message="x"),
}


@pytest.mark.parametrize("ending_name", ENDINGS)
async def test_each_ending_lowers_the_counters_once(alice: TenantRows, ending_name: str) -> None:
    job = await add_running_job(alice)
    await add_running_job(alice)
    assert await read_counters(alice) == (2, 2)
    async with alice.database.direct() as connection:
        assert await ENDINGS[ending_name](connection, job)
        assert not await ENDINGS[ending_name](connection, job)
    assert await read_counters(alice) == (1, 1)


async def test_canceling_a_queued_job_changes_no_counter(alice: TenantRows) -> None:
    job_id = await alice.queue_job()
    async with alice.database.direct() as connection:
        assert await cancel(connection, tenant_id=alice.tenant_id, job_id=job_id)
    assert await read_counters(alice) == (0, 0)


@pytest.mark.parametrize(("seconds", "ready"), [(0.0, True), (60.0, False)])
async def test_a_released_job_makes_its_tenant_ready_if_it_is_due(
    alice: TenantRows, seconds: float, *, ready: bool
) -> None:
    job = await add_running_job(alice)
    async with alice.database.direct() as connection:
        await release_claim(connection, job.claim, seconds=seconds)
    (queue,) = await alice.read_rows(TenantQueue)
    assert queue["has_ready"] is ready


async def test_limits_are_not_exceeded_by_sixteen_workers(alice: TenantRows) -> None:
    """Each counts the running rows after each claim, and then fails the claimed jobs."""
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
    assert await read_counters(alice) == (0, 0)


async def count(alice: TenantRows, state: JobState) -> int:
    asked = select(func.count()).select_from(Job).where(Job.state == state)
    async with alice.database.statement() as connection:
        return int((await connection.execute(asked)).scalar_one())


async def has_queued_jobs(alice: TenantRows) -> bool:
    return await count(alice, JobState.QUEUED) > 0


async def test_a_recount_lowers_the_counters_of_requeued_jobs(alice: TenantRows) -> None:
    taken, abandoned = await add_running_job(alice), await add_running_job(alice)
    await alice.set_job(taken.id, lease_expires_at=LONG_AGO)
    await alice.set_job(abandoned.id, lease_expires_at=LONG_AGO, max_attempts=1)
    async with alice.database.statement() as connection:
        assert await requeue_expired(connection, limit=9) == 1
        assert len(await fail_abandoned(connection, limit=9)) == 1
        # Until the recount the counters are too high, so no limit is exceeded.
        assert await read_counters(alice) == (2, 2)
        assert await recount_running(connection) == 2
        assert await mark_ready_tenants(connection) == 1
        assert await recount_running(connection) == 0
    assert await read_counters(alice) == (0, 0)


@pytest.mark.parametrize("wrong", [0, 9])
async def test_a_recount_corrects_wrong_counters(alice: TenantRows, wrong: int) -> None:
    await add_running_job(alice)
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


async def test_a_recount_skips_rows_changed_meanwhile(alice: TenantRows) -> None:
    """It waits for the other transaction to commit, and then finds another row version."""
    job = await add_running_job(alice)
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(running=5))
    async with alice.database.transaction() as ending, alice.database.statement() as sweeping:
        await fail(ending, job.claim, code="x", message="x")
        recount = asyncio.create_task(recount_running(sweeping))
        await wait_until_blocked(alice)
        await ending.commit()
        await recount
    assert (await alice.read_rows(TenantQueue))[0]["running"] == 4
    async with alice.database.statement() as connection:
        await recount_running(connection)
    assert await read_counters(alice) == (0, 0)


async def wait_until_blocked(alice: TenantRows) -> None:
    """Wait until some statement waits for a lock."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(20), alice.database.statement() as connection:
        while not (await connection.exec_driver_sql(asked)).scalar_one():
            pass


async def test_backlogs_are_the_cost_of_the_waiting_jobs(
    alice: TenantRows, bob: TenantRows
) -> None:
    for _ in range(3):
        await alice.queue_job()
    await bob.queue_job()
    await bob.claim_job()
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).values(backlog=77.0))
        await recount_backlogs(connection)
    found = {row["tenant_id"]: row["backlog"] for row in await alice.read_rows(TenantQueue)}
    # Either tenant's job may have been claimed; three jobs are left in total.
    assert sum(found.values()) == pytest.approx(3 * REQUEST.cost)


async def test_a_rejected_write_changes_no_counter(alice: TenantRows) -> None:
    job = await add_running_job(alice)
    stale = Claim(job.id, job.attempt + 1)
    async with alice.database.direct() as connection:
        assert await fail(connection, stale, code="x", message="x") is None
    assert await read_counters(alice) == (1, 1)
