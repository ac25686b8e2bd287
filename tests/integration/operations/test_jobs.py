"""Jobs and queues, listed and changed by operators."""

import pytest

from common.domain.errors import ConflictError, InvalidValueError, NotFoundError
from common.domain.job import JobState
from common.operations.jobs import cancel_job, list_jobs, list_queues, set_job_priority, show_job
from common.operations.paging import Page
from common.operations.tenants import create_tenant
from common.postgres.database import Database
from common.postgres.models import Delivery, Job, TenantShare
from common.postgres.repositories.fair_queue.queues import MAX_COUNTED, QueueRecord, _count_waiting
from common.postgres.repositories.jobs import overview as job_overview
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from tests.integration.operations.rows import QUEUE, add_job, rows
from tests.support.operators import EVERYTHING, OPERATOR

NO_JOB = 2**40


@pytest.fixture(autouse=True)
async def tenants(database: Database) -> None:
    for name in ("acme", "other"):
        await create_tenant(database, OPERATOR, name)


async def test_jobs_are_listed_latest_first_and_filtered(database: Database) -> None:
    waiting = await add_job(database, "acme")
    running = await add_job(database, "acme", state=JobState.RUNNING)
    failed = await add_job(database, "other", "deep", state=JobState.FAILED)
    succeeded = await add_job(database, "other", state=JobState.SUCCEEDED)

    async def ids(**chosen: object) -> list[int]:
        listed = await list_jobs(database, EVERYTHING, **chosen)  # type: ignore[arg-type] # any
        assert listed.next_cursor is None
        return [job.id for job in listed.items]

    assert await ids() == [succeeded, failed, running, waiting]
    assert await ids(tenant="acme") == [running, waiting]
    assert await ids(queue="deep") == [failed]
    assert await ids(state=JobState.RUNNING) == [running]
    assert await ids(state=JobState.QUEUED, tenant="other") == []
    with pytest.raises(NotFoundError, match="there is no tenant called nobody"):
        await ids(tenant="nobody")


async def test_a_job_is_shown_without_its_prompt_and_urls(database: Database) -> None:
    job_id = await add_job(database, "acme")
    job = await show_job(database, job_id)
    assert (job.tenant, job.queue, job.state, job.cost) == ("acme", QUEUE, JobState.QUEUED, 1.5)
    assert "a tenant's prompt" not in str(job)
    assert "secret-path" not in str(job)
    with pytest.raises(NotFoundError, match=f"there is no job with the id {NO_JOB}"):
        await show_job(database, NO_JOB)


@pytest.mark.parametrize("state", [JobState.RUNNING, None])
async def test_jobs_are_listed_in_pages(database: Database, state: JobState | None) -> None:
    made = [await add_job(database, "acme", state=JobState.RUNNING) for _ in range(5)]
    seen: list[int] = []
    cursor = None
    for size in (2, 2, 1):
        listed = await list_jobs(database, Page(2, cursor), state=state)
        assert len(listed.items) == size
        seen += [job.id for job in listed.items]
        cursor = listed.next_cursor
    assert (seen, cursor) == (made[::-1], None)


async def test_a_page_reads_a_limited_number_of_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a filter that matches few jobs would read the whole table."""
    monkeypatch.setattr(job_overview, "MAX_ROWS_READ", 3)
    wanted = await add_job(database, "other")
    for _ in range(4):
        await add_job(database, "acme")
    first = await list_jobs(database, EVERYTHING, tenant="other")
    assert first.items == []
    second = await list_jobs(database, Page(9, first.next_cursor), tenant="other")
    assert ([job.id for job in second.items], second.next_cursor) == ([wanted], None)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_canceled_job_has_a_pending_delivery(database: Database, state: JobState) -> None:
    job_id = await add_job(database, "acme", state=state)
    canceled = await cancel_job(database, OPERATOR, job_id)
    assert (canceled.job.id, canceled.job.state) == (job_id, JobState.CANCELED)
    (row,) = await rows(database, Job)
    (delivery,) = await rows(database, Delivery)
    assert canceled.ended.file_prefix == row["file_prefix"]
    assert row["error_message"] == "the job was canceled by the operator of this service"
    assert [share["running"] for share in await rows(database, TenantShare)] == [0, 0]
    assert (canceled.ended.delivery_id, delivery["event"]) == (delivery["id"], "job.canceled")
    with pytest.raises(ConflictError, match=f"job {job_id} has ended already"):
        await cancel_job(database, OPERATOR, job_id)
    with pytest.raises(NotFoundError, match="there is no job"):
        await cancel_job(database, OPERATOR, NO_JOB)


async def test_the_priority_of_a_queued_job_is_set(database: Database) -> None:
    job_id = await add_job(database, "acme")
    assert (await set_job_priority(database, OPERATOR, job_id, -7)).priority == -7
    for bad in (101, -101):
        with pytest.raises(InvalidValueError, match="must be a whole number from -100 to 100"):
            await set_job_priority(database, OPERATOR, job_id, bad)
    running = await add_job(database, "acme", state=JobState.RUNNING)
    with pytest.raises(ConflictError, match=f"job {running} is running: the priority"):
        await set_job_priority(database, OPERATOR, running, 1)
    with pytest.raises(NotFoundError, match="there is no job"):
        await set_job_priority(database, OPERATOR, NO_JOB, 1)


async def test_queues_show_waiting_and_running_jobs_and_workers(database: Database) -> None:
    for _ in range(2):
        await add_job(database, "acme")
    await add_job(database, "other")
    await add_job(database, "other", "deep", state=JobState.RUNNING)
    async with database.statement() as connection:
        await record_worker_heartbeat(connection, "w1", [QUEUE, "idle"])
        await record_worker_heartbeat(connection, "w2", [QUEUE])
    listed = await list_queues(database, silent_seconds=60)
    assert listed.items == [
        QueueRecord("deep", waiting=0, running=1, ready_tenants=0, workers=0),
        QueueRecord("idle", waiting=0, running=0, ready_tenants=0, workers=1),
        QueueRecord(QUEUE, waiting=3, running=0, ready_tenants=2, workers=2),
    ]
    silent = await list_queues(database, silent_seconds=-1)
    assert [queue.workers for queue in silent.items] == [0, 0, 0]


def test_the_limit_of_counting_is_a_literal() -> None:
    statement = str(_count_waiting(QUEUE))
    assert statement.count(f"LIMIT {MAX_COUNTED}") == 2
