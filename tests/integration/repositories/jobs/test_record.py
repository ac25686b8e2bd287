"""Recording jobs, and repeated requests under an idempotency key."""

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
from tests.integration.repositories.support.tenant_rows import HOOK, QUEUE, REQUEST, TenantRows

DIGEST, OTHER_DIGEST = b"a" * 32, b"b" * 32


async def test_a_recorded_job_is_queued(alice: TenantRows) -> None:
    row = await alice.read_job(await alice.queue_job())
    shown = {name: row[name] for name in ("tenant_id", "queue", "state", "attempt", "max_attempts")}
    assert shown == {
        "tenant_id": alice.tenant_id,
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
async def test_a_track_id_keeps_its_type(alice: TenantRows, track_id: Any) -> None:
    await alice.queue_job(track_id=track_id)
    read = (await alice.claim_job()).track_id
    assert (read, type(read)) == (track_id, type(track_id))


async def test_an_absent_track_id_is_null_not_json_null(alice: TenantRows) -> None:
    await alice.queue_job(track_id=None)
    async with alice.database.statement() as connection:
        found = await connection.exec_driver_sql("SELECT 1 FROM jobs WHERE track_id IS NULL")
        assert found.one() == (1,)


async def test_jobs_without_a_key_are_all_recorded(alice: TenantRows) -> None:
    assert await alice.queue_job() != await alice.queue_job()


async def test_a_repeated_request_returns_the_first_job(alice: TenantRows) -> None:
    first = await alice.record_job(idempotency_key="k", request_digest=DIGEST)
    second = await alice.record_job(idempotency_key="k", request_digest=DIGEST)
    assert isinstance(first, JobRecorded)
    assert isinstance(second, JobRepeated)
    assert second.job.id == first.job_id
    assert second.job.request == REQUEST
    assert len(await alice.read_rows(Job)) == 1


async def test_a_key_used_for_another_request_is_taken(alice: TenantRows) -> None:
    first = await alice.queue_job(idempotency_key="k", request_digest=DIGEST)
    again = await alice.record_job(idempotency_key="k", request_digest=OTHER_DIGEST)
    assert again == IdempotencyKeyTaken(first)
    assert len(await alice.read_rows(Job)) == 1


async def test_keys_are_separate_for_each_tenant(alice: TenantRows, bob: TenantRows) -> None:
    first = await alice.queue_job(idempotency_key="k", request_digest=DIGEST)
    second = await bob.queue_job(idempotency_key="k", request_digest=DIGEST)
    assert first != second


async def test_concurrent_requests_under_one_key_record_one_job(alice: TenantRows) -> None:
    results = await asyncio.gather(
        *(alice.record_job(idempotency_key="k", request_digest=DIGEST) for _ in range(16))
    )
    assert [type(result) for result in results].count(JobRecorded) == 1
    ids = {a.job.id if isinstance(a, JobRepeated) else a.job_id for a in results}
    assert len(ids) == len(await alice.read_rows(Job)) == 1


async def test_a_second_request_waits_for_the_first_to_commit(alice: TenantRows) -> None:
    """The second must not return a job that is then rolled back."""
    new = alice.new_job(idempotency_key="k", request_digest=DIGEST)
    async with alice.database.engine.connect() as connection:
        first = await record_job(connection, new)
        second = asyncio.create_task(alice.record_job(idempotency_key="k", request_digest=DIGEST))
        done, _ = await asyncio.wait({second}, timeout=0.05)
        assert not done
        await connection.rollback()
    assert isinstance(first, JobRecorded)
    assert isinstance(await second, JobRecorded)
    assert len(await alice.read_rows(Job)) == 1
