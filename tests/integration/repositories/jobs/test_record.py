"""Recording jobs, and repeating oneself under an idempotency key."""

import asyncio
from typing import Any

import pytest

from common.domain.job import JobState
from common.postgres.models import Job
from common.postgres.repositories.jobs.record import (
    IdempotencyKeyTaken,
    JobRecorded,
    JobRepeated,
    record_job,
)
from tests.integration.repositories.support.counters import HOOK, QUEUE, REQUEST, Books

DIGEST, OTHER_DIGEST = b"a" * 32, b"b" * 32


async def test_a_recorded_job_waits(books: Books) -> None:
    row = await books.job(await books.queued())
    told = {name: row[name] for name in ("tenant_id", "queue", "state", "attempt", "max_attempts")}
    assert told == {
        "tenant_id": books.tenant_id,
        "queue": QUEUE,
        "state": JobState.QUEUED,
        "attempt": 0,
        "max_attempts": 3,
    }
    assert row["request"] == REQUEST.to_json()
    assert row["inputs"] == {"init_image": {"url": "https://p.test/a.png"}}
    assert (row["cost"], row["webhook_url"], row["priority"]) == (10.0, HOOK, 0)
    assert row["available_at"] == row["created_at"]


@pytest.mark.parametrize("track_id", ["7", 7, 7.5, 2**60, "", "ключ", None])
async def test_a_track_id_keeps_its_type(books: Books, track_id: Any) -> None:
    await books.queued(track_id=track_id)
    read = (await books.claim()).track_id
    assert (read, type(read)) == (track_id, type(track_id))


async def test_an_absent_track_id_is_null_not_json_null(books: Books) -> None:
    await books.queued(track_id=None)
    async with books.database.statement() as connection:
        found = await connection.exec_driver_sql("SELECT 1 FROM jobs WHERE track_id IS NULL")
        assert found.one() == (1,)


async def test_jobs_without_a_key_are_all_recorded(books: Books) -> None:
    assert await books.queued() != await books.queued()


async def test_a_repeated_request_gets_its_job(books: Books) -> None:
    first = await books.record(idempotency_key="k", request_digest=DIGEST)
    second = await books.record(idempotency_key="k", request_digest=DIGEST)
    assert isinstance(first, JobRecorded)
    assert isinstance(second, JobRepeated)
    assert second.job.id == first.job_id
    assert second.job.request == REQUEST
    assert len(await books.rows(Job)) == 1


async def test_a_key_serves_one_request_only(books: Books) -> None:
    first = await books.queued(idempotency_key="k", request_digest=DIGEST)
    again = await books.record(idempotency_key="k", request_digest=OTHER_DIGEST)
    assert again == IdempotencyKeyTaken(first)
    assert len(await books.rows(Job)) == 1


async def test_another_tenant_has_keys_of_its_own(books: Books, other_books: Books) -> None:
    first = await books.queued(idempotency_key="k", request_digest=DIGEST)
    second = await other_books.queued(idempotency_key="k", request_digest=DIGEST)
    assert first != second


async def test_requests_at_once_under_one_key_make_one_job(books: Books) -> None:
    answers = await asyncio.gather(
        *(books.record(idempotency_key="k", request_digest=DIGEST) for _ in range(16))
    )
    assert [type(answer) for answer in answers].count(JobRecorded) == 1
    ids = {a.job.id if isinstance(a, JobRepeated) else a.job_id for a in answers}
    assert len(ids) == len(await books.rows(Job)) == 1


async def test_who_comes_second_waits_for_the_first_to_commit(books: Books) -> None:
    """The second must not answer with a job that is then rolled back."""
    new = books.new_job(idempotency_key="k", request_digest=DIGEST)
    async with books.database.engine.connect() as connection:
        first = await record_job(connection, new)
        second = asyncio.create_task(books.record(idempotency_key="k", request_digest=DIGEST))
        done, _ = await asyncio.wait({second}, timeout=0.05)
        assert not done
        await connection.rollback()
    assert isinstance(first, JobRecorded)
    assert isinstance(await second, JobRecorded)
    assert len(await books.rows(Job)) == 1
