"""Counts of the sweeper, and deletion of silent workers."""

from sqlalchemy import update

from common.domain.job import JobState
from common.postgres.models import Worker
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from common.postgres.repositories.maintenance.requeue import (
    count_claimable,
    count_jobs,
    delete_silent_workers,
    read_uptime_seconds,
)
from tests.integration.repositories.support.tenant_rows import (
    FAR_AHEAD,
    LONG_AGO,
    QUEUE,
    TenantRows,
)


async def test_claimable_jobs_are_counted_by_queue_up_to_a_limit(alice: TenantRows) -> None:
    for queue, number in (("a", 5), ("b", 2), ("elsewhere", 1)):
        for _ in range(number):
            await alice.queue_job(queue=queue)
    await alice.queue_job(queue="b", columns={"available_at": FAR_AHEAD})
    await alice.queue_job(queue="c", columns={"available_at": FAR_AHEAD})
    await alice.claim_job("b")
    async with alice.database.statement() as connection:
        assert await count_claimable(connection, ["a", "b", "c", "d"], at_most=3) == {
            "a": 3,
            "b": 1,
        }
        assert await count_claimable(connection, [], at_most=3) == {}


async def test_unfinished_jobs_are_counted_by_queue_and_state(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        assert await count_jobs(connection) == {}
        for state in [*JobState, JobState.QUEUED]:
            await alice.add_job(state)
        await alice.queue_job(queue="b")
        counted = {
            (QUEUE, JobState.QUEUED): 2,
            (QUEUE, JobState.RUNNING): 1,
            ("b", JobState.QUEUED): 1,
        }
        assert await count_jobs(connection) == counted
        # Each state is cut off by itself, over all queues.
        some = await count_jobs(connection, at_most=1)
        assert sorted((state, number) for (_, state), number in some.items()) == [
            (JobState.QUEUED, 1),
            (JobState.RUNNING, 1),
        ]


async def test_silent_workers_are_deleted(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        for name in ("silent", "alive"):
            await record_worker_heartbeat(connection, name, ["a"])
        await connection.execute(
            update(Worker).where(Worker.name == "silent").values(seen_at=LONG_AGO)
        )
        await delete_silent_workers(connection, seconds=60.0)
    assert [row["name"] for row in await alice.read_rows(Worker)] == ["alive"]


async def test_the_uptime_of_postgres_is_read(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        before = await read_uptime_seconds(connection)
        assert 0 < before <= await read_uptime_seconds(connection)
