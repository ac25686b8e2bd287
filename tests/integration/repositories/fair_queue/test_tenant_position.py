"""A tenant's own place in a queue."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from common.domain.job import JobState
from common.forecast.forecast import TenantPosition
from common.forecast.pace import Workload
from common.postgres.repositories.fair_queue import tenant_position as own_places
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


async def look(alice: TenantRows, queue: str = QUEUE) -> TenantPosition:
    async with alice.database.direct() as connection:
        return await read_tenant_position(connection, tenant_id=alice.tenant_id, queue=queue)


async def send_many(alice: TenantRows, jobs: int) -> None:
    values = {"tenant_id": alice.tenant_id, "queue": QUEUE, "jobs": jobs}
    async with alice.database.statement() as connection:
        await connection.execute(text(MANY), values)


async def test_a_tenant_that_never_was_in_the_queue(alice: TenantRows) -> None:
    await set_share(alice, weight=3.0, max_running=4, running=1)
    own = await look(alice)
    assert (own.has_ready, own.virtual_time, own.backlog) == (False, 0.0, 0.0)
    assert (own.weight, own.max_running, own.running) == (3.0, 3, [])
    assert (own.queued.total, own.queued.first_id) == (Workload(), None)


async def test_a_tenant_without_a_share_has_the_usual_weight(alice: TenantRows) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(text("DELETE FROM tenant_shares"))
    assert (await look(alice)).weight == 1.0


async def test_its_books_are_told(alice: TenantRows, bob: TenantRows) -> None:
    await alice.queue_job()
    await bob.queue_job()
    await set_queue(alice, virtual_time=7.0, backlog=9.0)
    own = await look(alice)
    assert (own.has_ready, own.virtual_time, own.backlog) == (True, 7.0, 9.0)
    assert (own.weight, own.max_running) == (1.0, None)


async def test_its_jobs_are_told_in_the_order_they_are_taken(
    alice: TenantRows, bob: TenantRows
) -> None:
    low = await alice.queue_job(columns={"cost": 1.0})
    await bob.queue_job()
    high = await alice.queue_job(columns={"cost": 2.0, "priority": 5})
    later = await alice.queue_job(columns={"cost": 4.0, "available_at": FAR_AHEAD})
    await alice.queue_job(queue="elsewhere")
    await alice.add_job(JobState.FAILED)
    line = (await look(alice)).queued
    assert line.load_before(5, high) == Workload()
    assert line.load_before(0, low) == Workload(1, 2.0)
    assert line.load_before(0, later) == Workload(2, 3.0)
    assert (line.total, line.first_id) == (Workload(3, 7.0), low)


async def test_far_places_are_told_in_ranges_and_are_right_within_some_hundredths(
    alice: TenantRows,
) -> None:
    await send_many(alice, 1000)
    line = (await look(alice)).queued
    assert len(line._ranges) < SINGLE_JOBS + 100
    first = line.first_id
    assert first is not None
    assert line.total == Workload(1000, 2000.0)
    for place in (0, 1, SINGLE_JOBS - 1, SINGLE_JOBS, 65, 70, 100, 500, 999):
        assert line.load_before(0, first + place).jobs == pytest.approx(place, rel=0.03)


async def test_of_a_long_line_the_end_is_known_by_the_backlog(alice: TenantRows) -> None:
    await send_many(alice, MAX_JOBS_READ + 1000)
    await alice.queue_job(columns={"cost": 2.0})
    await set_queue(alice, backlog=2.0 * (MAX_JOBS_READ + 1001))
    line = (await look(alice)).queued
    first = line.first_id
    assert first is not None
    assert line.total == Workload(MAX_JOBS_READ + 1001, 2.0 * (MAX_JOBS_READ + 1001))
    assert line.load_before(0, first + MAX_JOBS_READ + 500).jobs == pytest.approx(
        MAX_JOBS_READ + 500, rel=0.01
    )
    await set_queue(alice, backlog=0.0)  # not counted yet: what was read, at least
    assert (await look(alice)).queued.total == Workload(MAX_JOBS_READ, 2.0 * MAX_JOBS_READ)


async def test_running_jobs_are_told_where_there_is_a_limit(
    alice: TenantRows, bob: TenantRows
) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the database's, within seconds
    for some, seconds in ((alice, 30), (bob, 60)):
        await some.add_job(JobState.RUNNING, cost=5.0, started_at=now - timedelta(seconds=seconds))
    assert (await look(alice)).running == []
    await set_share(alice, max_running_per_queue=2)
    (running,) = (await look(alice)).running
    assert running.load == Workload(1, 5.0)
    assert running.seconds == pytest.approx(30, abs=5)


def test_the_limits_of_the_reading_are_in_the_statement() -> None:
    spelled = str(own_places._READ_TENANT_POSITION)
    assert f"LIMIT {MAX_JOBS_READ}" in spelled
