"""The state of a queue across its tenants, as estimates read it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from common.domain.job import JobState
from common.forecast.engines import RunningJob
from common.forecast.fair_order import WaitingTenant
from common.forecast.forecast import QueueSnapshot
from common.forecast.pace import Pace, SpeedSamples, StageSeconds, Workload
from common.postgres.models import TenantQueue, TenantShare, Worker
from common.postgres.repositories.fair_queue.queue_snapshot import read_queue_snapshot
from common.postgres.repositories.jobs.workers import delete_worker, record_worker_heartbeat
from tests.integration.repositories.support.tenant_rows import (
    FAR_AHEAD,
    LONG_AGO,
    QUEUE,
    RESULT,
    TenantRows,
)

WAITING_TENANTS = "SELECT pg_get_functiondef('infill_waiting_tenants'::regproc)"
SPEED_SAMPLE = 50


async def read_snapshot(alice: TenantRows, queue: str = QUEUE) -> QueueSnapshot:
    async with alice.database.direct() as connection:
        return await read_queue_snapshot(connection, queue, silent_seconds=60)


async def set_queue(alice: TenantRows, **columns: Any) -> None:
    """Set columns of the tenant in the queue."""
    theirs = (TenantQueue.tenant_id == alice.tenant_id, TenantQueue.queue == QUEUE)
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantQueue).where(*theirs).values(**columns))


async def set_share(alice: TenantRows, **columns: Any) -> None:
    theirs = TenantShare.tenant_id == alice.tenant_id
    async with alice.database.statement() as connection:
        await connection.execute(update(TenantShare).where(theirs).values(**columns))


async def test_an_idle_queue_without_workers(alice: TenantRows) -> None:
    assert await read_snapshot(alice) == QueueSnapshot(waiting_tenants=[], running=[], engines=0)


async def test_waiting_tenants_are_read_from_their_counters(
    alice: TenantRows, bob: TenantRows
) -> None:
    for cost in (10.0, 1.0, 2.0, 3.0, 9.0):
        await alice.queue_job(columns={"cost": cost})
    await set_queue(alice, virtual_time=7.5, backlog=160.0)
    await set_share(alice, weight=2.0)
    await bob.queue_job(columns={"cost": 4.0})
    await bob.queue_job(queue="elsewhere")
    last = await bob.queue_job(columns={"available_at": FAR_AHEAD})  # not yet
    read = await read_snapshot(alice)
    assert read.waiting_tenants == [
        WaitingTenant(0.0, 1.0, Workload(1, 4.0)),
        WaitingTenant(
            7.5, 2.0, Workload(40.0, 160.0)
        ),  # four jobs with a cost of 16 in total were read
    ]
    assert (read.unread_tenants, read.last_job_id) == (0, last)


async def test_the_next_jobs_of_a_tenant_are_read(alice: TenantRows) -> None:
    for priority, cost in ((0, 50.0), (1, 1.0), (1, 1.0), (1, 1.0), (2, 1.0)):
        await alice.queue_job(columns={"cost": cost, "priority": priority})
    (read,) = (await read_snapshot(alice)).waiting_tenants
    assert read.waiting == Workload(4, 4.0)


async def test_tenants_without_claimable_jobs_are_not_waiting(
    alice: TenantRows, bob: TenantRows
) -> None:
    job_id = await alice.queue_job()
    await bob.queue_job()
    await set_share(bob, closed=True)
    assert len((await read_snapshot(alice)).waiting_tenants) == 1
    await alice.set_job(job_id, state=JobState.FAILED)  # has_ready is not lowered by that
    assert (await read_snapshot(alice)).waiting_tenants == []
    await alice.queue_job()
    await set_queue(alice, has_ready=False)
    assert (await read_snapshot(alice)).waiting_tenants == []


@pytest.mark.parametrize(
    ("of_queue", "of_all", "elsewhere", "most"),
    [(None, None, 0, None), (3, None, 5, 3), (None, 4, 1, 3), (2, 4, 1, 2), (3, 4, 3, 1)],
)
async def test_the_lower_limit_applies(
    alice: TenantRows, of_queue: int | None, of_all: int | None, elsewhere: int, most: int | None
) -> None:
    await alice.queue_job()
    await set_queue(alice, running=2)
    await set_share(
        alice, max_running_per_queue=of_queue, max_running=of_all, running=2 + elsewhere
    )
    (read,) = (await read_snapshot(alice)).waiting_tenants
    assert read.max_running == most


async def test_tenants_beyond_those_read_are_counted(alice: TenantRows, bob: TenantRows) -> None:
    async with alice.database.statement() as connection:
        definition = (await connection.exec_driver_sql(WAITING_TENANTS)).scalar_one()
        assert "LIMIT 1000" in definition
        await connection.exec_driver_sql(definition.replace("LIMIT 1000", "LIMIT 1"))
    await alice.queue_job()
    await bob.queue_job()
    await set_queue(alice, virtual_time=3.0)
    read = await read_snapshot(alice)
    assert [each.virtual_time for each in read.waiting_tenants] == [0.0]
    assert read.unread_tenants == 1


async def test_a_queues_virtual_time_is_its_greatest_start_tag(
    alice: TenantRows, bob: TenantRows
) -> None:
    await alice.queue_job()
    await bob.queue_job(queue="elsewhere")
    await set_queue(alice, start_tag=8.0, has_ready=False)
    assert (await read_snapshot(alice)).virtual_time == 8.0
    assert (await read_snapshot(alice, "elsewhere")).virtual_time == 0.0
    assert (await read_snapshot(alice, "nowhere")).virtual_time == 0.0


async def test_running_jobs_are_read_with_a_number_for_their_engine(
    alice: TenantRows, bob: TenantRows
) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the database's, within seconds
    for some, worker, seconds, cost in (
        (alice, "w1", 100, 5.0),
        (bob, "w1", 50, 7.0),
        (alice, "w2", 20, 3.0),
    ):
        started_at = now - timedelta(seconds=seconds)
        await some.add_job(JobState.RUNNING, cost=cost, claimed_by=worker, started_at=started_at)
    read = sorted((await read_snapshot(alice)).running, key=lambda each: each.seconds)
    assert [each.load for each in read] == [Workload(1, 3.0), Workload(1, 7.0), Workload(1, 5.0)]
    assert [each.engine for each in read] == [2, 1, 1]
    assert [each.seconds for each in read] == pytest.approx([20, 50, 100], abs=5)
    await bob.add_job(JobState.RUNNING, queue="elsewhere")
    assert (await read_snapshot(alice, "elsewhere")).running == [
        RunningJob(Workload(1, 10.0), 0.0, 1)
    ]


async def test_speed_comes_from_the_latest_successes(alice: TenantRows) -> None:
    for number in range(SPEED_SAMPLE + 2):
        # The two oldest are beyond the sample. What counts is the job's part of the engine's time,
        # not how long it took beside others.
        seconds = 9999.0 if number < 2 else 5.0
        result = {**RESULT.to_json(), "generation_seconds": 9999.0, "engine_seconds": seconds}
        await alice.add_job(
            JobState.SUCCEEDED, result=result, finished_at=LONG_AGO + timedelta(minutes=number)
        )
    samples = (await read_snapshot(alice)).samples
    assert samples == SpeedSamples(SPEED_SAMPLE, 500.0, 250.0, 5000.0, 2500.0)
    assert Pace.fit(samples) == Pace(0.5)
    assert (await read_snapshot(alice, "elsewhere")).samples == SpeedSamples()


async def test_the_times_of_stages_are_medians_of_the_latest_successes(alice: TenantRows) -> None:
    assert (await read_snapshot(alice)).stages == StageSeconds()
    for slowness in (1.0, 1.0, 50.0):  # one image host is slow
        times = {"claimed": 0.0, "fetched": 2.0, "denoised": 10.0, "generated": 13.0}
        timeline = {**times, "fetched": 2.0 * slowness, "uploaded": 13.0 + slowness}
        await alice.add_job(JobState.SUCCEEDED, result={**RESULT.to_json(), "timeline": timeline})
    assert (await read_snapshot(alice)).stages == StageSeconds(2.0, 3.0, 1.0)
    # An engine that reports no steps.
    await alice.add_job(JobState.SUCCEEDED, queue="elsewhere", result=RESULT.to_json())
    assert (await read_snapshot(alice, "elsewhere")).stages.decode is None


async def test_workers_with_a_recent_heartbeat_are_counted(alice: TenantRows) -> None:
    async def engines(queue: str = QUEUE) -> int:
        return (await read_snapshot(alice, queue)).engines

    async with alice.database.statement() as connection:
        for name, queues in (("w1", [QUEUE, "x"]), ("w2", [QUEUE]), ("w3", ["x"]), ("w4", [QUEUE])):
            await record_worker_heartbeat(connection, name, queues)
        await connection.execute(update(Worker).where(Worker.name == "w4").values(seen_at=LONG_AGO))
        assert await engines() == 2
        await delete_worker(connection, "w2")
        assert await engines() == 1
        await record_worker_heartbeat(connection, "w1", ["x"])
        await record_worker_heartbeat(connection, "w4", [QUEUE])
        assert (await engines(), await engines("x")) == (1, 2)


async def test_an_engine_is_shared_with_its_other_queues_that_have_work(
    alice: TenantRows, bob: TenantRows
) -> None:
    async with alice.database.statement() as connection:
        await record_worker_heartbeat(connection, "w1", [QUEUE, "x", "y"])
        await record_worker_heartbeat(connection, "w2", [QUEUE])
    assert (await read_snapshot(alice)).engine_share == 1.0
    await bob.queue_job(queue="x")
    assert (await read_snapshot(alice)).engine_share == 0.75
    await alice.queue_job(queue="y")
    assert (await read_snapshot(alice)).engine_share == pytest.approx((1 + 1 / 3) / 2)
    await set_share(bob, closed=True)
    assert (await read_snapshot(alice)).engine_share == 0.75
