"""What a tenant's quotas are held against."""

import pytest

from common.domain.job import FINAL_STATES, JobState
from common.postgres.repositories.usage.quotas import (
    UnfinishedJobs,
    count_unfinished,
    is_idempotency_key_used,
)
from tests.integration.repositories.support.counters import FAR_AHEAD, Books
from tests.integration.repositories.support.query_plans import fill, plans


async def unfinished(books: Books, most: int = 10) -> UnfinishedJobs:
    async with books.database.direct() as connection:
        return await count_unfinished(connection, books.tenant_id, limit=most)


async def test_a_tenant_without_jobs_has_nothing(books: Books) -> None:
    assert await unfinished(books) == UnfinishedJobs(0, 0.0)


async def test_waiting_jobs_count_and_running_ones_cost(books: Books, other_books: Books) -> None:
    await books.queued()
    await books.queued(columns={"available_at": FAR_AHEAD})  # it waits to be tried again
    await books.queued(queue="another")
    for state in (JobState.RUNNING, *FINAL_STATES):
        await books.job_in(state)
    await other_books.queued()
    await other_books.job_in(JobState.RUNNING)
    assert await unfinished(books) == UnfinishedJobs(3, 40.0)
    assert await unfinished(books, most=2) == UnfinishedJobs(2, 30.0)
    assert await unfinished(books, most=0) == UnfinishedJobs(0, 10.0)


async def test_an_idempotency_key_is_known_to_its_tenant_alone(
    books: Books, other_books: Books
) -> None:
    await books.queued(idempotency_key="k", request_digest=b"d")
    async with books.database.direct() as connection:
        assert await is_idempotency_key_used(connection, books.tenant_id, "k")
        assert not await is_idempotency_key_used(connection, books.tenant_id, "other")
        assert not await is_idempotency_key_used(connection, other_books.tenant_id, "k")


async def test_both_are_read_from_indexes(
    books: Books, other_books: Books, database_url: str
) -> None:
    """Of a tenant's own rows: never by everybody's waiting jobs."""
    await fill(books)
    tenant = other_books.tenant_id
    for plan in await plans(
        books.database, database_url, lambda c: count_unfinished(c, tenant, limit=1000)
    ):
        assert "ix_jobs_queued" in plan or "ix_jobs_tenant_id" in plan
        assert "ix_jobs_waiting" not in plan
        assert "Seq Scan" not in plan
    for plan in await plans(
        books.database, database_url, lambda c: is_idempotency_key_used(c, tenant, "k")
    ):
        assert "uq_jobs_idempotency_key" in plan or "ix_jobs_tenant_id" in plan


@pytest.mark.parametrize("priority", [-100, 0, 100])
async def test_a_priority_is_recorded(books: Books, priority: int) -> None:
    assert (await books.job(await books.queued(priority=priority)))["priority"] == priority
