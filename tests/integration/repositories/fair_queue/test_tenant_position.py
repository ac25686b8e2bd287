"""A tenant's position in a queue: share, waiting jobs and running jobs."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from common.domain.job import JobState
from common.forecast.forecast import TenantPosition
from common.forecast.pace import Workload
from common.postgres.repositories.fair_queue import tenant_position as tenant_position_module
from common.postgres.repositories.fair_queue.tenant_position import (
    MAX_JOBS_READ,
    SINGLE_JOBS,
    read_tenant_position,
)
from tests.integration.repositories.fair_queue.test_queue_snapshot import set_queue, set_share
from tests.integration.repositories.support.tenant_rows import FAR_AHEAD, QUEUE, TenantRows

MANY = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost)
SELECT :tenant_id, gen_random_uuid(), :queue, 3, '{}', '{}', false, 2
FROM generate_series(1, :jobs)
"""


async def read_position(alice: TenantRows, queue: str = QUEUE) -> TenantPosition:
    async with alice.database.direct() as connection:
        return await read_tenant_position(connection, tenant_id=alice.tenant_id, queue=queue)


async def queue_many(alice: TenantRows, jobs: int) -> None:
    values = {"tenant_id": alice.tenant_id, "queue": QUEUE, "jobs": jobs}
    async with alice.database.statement() as connection:
        await connection.execute(text(MANY), values)


async def test_the_position_of_a_tenant_new_to_the_queue(alice: TenantRows) -> None:
    await set_share(alice, weight=3.0, max_running=4, running=1)
    own = await read_position(alice)
    assert (own.has_ready, own.virtual_time, own.backlog) == (False, 0.0, 0.0)
    assert (own.weight, own.max_running, own.running) == (3.0, 3, [])
    assert (own.queued.total, own.queued.first_id) == (Workload(), None)


async def test_a_tenant_without_a_share_has_the_default_weight(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(text("DELETE FROM tenant_shares"))
    assert (await read_position(alice)).weight == 1.0


async def test_the_counters_of_the_tenant_are_read(alice: TenantRows, bob: TenantRows) -> None:
    await alice.queue_job()
    await bob.queue_job()
    await set_queue(alice, virtual_time=7.0, backlog=9.0)
    own = await read_position(alice)
    assert (own.has_ready, own.virtual_time, own.backlog) == (True, 7.0, 9.0)
    assert (own.weight, own.max_running) == (1.0, None)


async def test_waiting_jobs_are_read_in_the_order_of_claims(
    alice: TenantRows, bob: TenantRows
) -> None:
    low = await alice.queue_job(columns={"cost": 1.0})
    await bob.queue_job()
    high = await alice.queue_job(columns={"cost": 2.0, "priority": 5})
    later = await alice.queue_job(columns={"cost": 4.0, "available_at": FAR_AHEAD})
    await alice.queue_job(queue="elsewhere")
    await alice.add_job(JobState.FAILED)
    queued = (await read_position(alice)).queued
    assert queued.load_before(5, high) == Workload()
    assert queued.load_before(0, low) == Workload(1, 2.0)
    assert queued.load_before(0, later) == Workload(2, 3.0)
    assert (queued.total, queued.first_id) == (Workload(3, 7.0), low)


async def test_later_jobs_are_read_in_ranges_within_three_percent(
    alice: TenantRows,
) -> None:
    await queue_many(alice, 1000)
    queued = (await read_position(alice)).queued
    assert len(queued._ranges) < SINGLE_JOBS + 100
    first = queued.first_id
    assert first is not None
    assert queued.total == Workload(1000, 2000.0)
    for position in (0, 1, SINGLE_JOBS - 1, SINGLE_JOBS, 65, 70, 100, 500, 999):
        assert queued.load_before(0, first + position).jobs == pytest.approx(position, rel=0.03)


async def test_the_rest_of_a_long_queue_is_estimated_from_the_backlog(alice: TenantRows) -> None:
    await queue_many(alice, MAX_JOBS_READ + 1000)
    await alice.queue_job(columns={"cost": 2.0})
    await set_queue(alice, backlog=2.0 * (MAX_JOBS_READ + 1001))
    queued = (await read_position(alice)).queued
    first = queued.first_id
    assert first is not None
    assert queued.total == Workload(MAX_JOBS_READ + 1001, 2.0 * (MAX_JOBS_READ + 1001))
    assert queued.load_before(0, first + MAX_JOBS_READ + 500).jobs == pytest.approx(
        MAX_JOBS_READ + 500, rel=0.01
    )
    await set_queue(alice, backlog=0.0)  # not recounted yet: at least the jobs that were read
    assert (await read_position(alice)).queued.total == Workload(MAX_JOBS_READ, 2.0 * MAX_JOBS_READ)


async def test_running_jobs_are_read_if_they_are_limited(
    alice: TenantRows, bob: TenantRows
) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the database's, within seconds
    for some, seconds in ((alice, 30), (bob, 60)):
        await some.add_job(JobState.RUNNING, cost=5.0, started_at=now - timedelta(seconds=seconds))
    assert (await read_position(alice)).running == []
    await set_share(alice, max_running_per_queue=2)
    (running,) = (await read_position(alice)).running
    assert running.load == Workload(1, 5.0)
    assert running.seconds == pytest.approx(30, abs=5)


def test_limits_are_literals_in_the_statement() -> None:
    statement = str(tenant_position_module._READ_TENANT_POSITION)
    assert f"LIMIT {MAX_JOBS_READ}" in statement
