"""Ending a job: everything is stored, or nothing."""

from datetime import timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from common.domain.delivery import DeliveryState
from common.domain.job import Claim, EndedJob, JobState
from common.domain.record import JobResult
from common.postgres.models import Delivery, UsageEntry
from common.postgres.repositories.jobs.finish import cancel, fail, succeed
from common.postgres.repositories.maintenance.expire import fail_abandoned, fail_overdue
from tests.integration.repositories.support.counters import FAR_AHEAD, HOOK, LONG_AGO, RESULT, Books


async def end_well(books: Books, claim: Claim, result: JobResult = RESULT) -> EndedJob | None:
    async with books.database.statement() as connection:
        return await succeed(connection, claim, result)


async def test_success_stores_result_usage_and_delivery(books: Books) -> None:
    claim = await books.job_in(JobState.RUNNING, error_code="fetch_failed", error_message="once")
    ended = await end_well(books, claim)
    job = await books.job(claim.job_id)
    assert JobResult.from_json(job["result"]) == RESULT
    assert (job["state"], job["error_code"], job["error_message"]) == (
        JobState.SUCCEEDED,
        None,
        None,
    )
    assert (job["claimed_by"], job["lease_expires_at"]) == (None, None)
    assert job["finished_at"] is not None

    (usage,) = await books.rows(UsageEntry)
    assert usage == {
        "job_id": claim.job_id,
        "tenant_id": books.tenant_id,
        "model": "sd15-inpainting",
        "images": 2,
        "megapixel_steps": 10.0,
        "gpu_milliseconds": 1910,
        "created_at": usage["created_at"],
        "flagged_images": 1,
    }
    (delivery,) = await books.rows(Delivery)
    assert (delivery["job_id"], delivery["tenant_id"]) == (claim.job_id, books.tenant_id)
    assert (delivery["event"], delivery["url"], delivery["state"]) == (
        "job.succeeded",
        HOOK,
        DeliveryState.PENDING,
    )
    assert (delivery["attempt"], delivery["failures"]) == (0, 0)
    assert delivery["available_at"] == job["finished_at"]
    assert ended == EndedJob(claim.job_id, job["file_prefix"], delivery["id"])


async def test_without_a_webhook_nothing_is_to_be_delivered(books: Books) -> None:
    job_id = await books.queued(webhook_url=None)
    ended = await end_well(books, (await books.claim()).claim)
    assert ended == EndedJob(job_id, (await books.job(job_id))["file_prefix"], None)
    assert await books.rows(Delivery) == []
    assert len(await books.rows(UsageEntry)) == 1


async def test_nothing_is_stored_if_the_charge_is_refused(books: Books) -> None:
    claim = await books.job_in(JobState.RUNNING)
    async with books.database.statement() as connection:
        await connection.execute(
            insert(UsageEntry).values(
                job_id=claim.job_id,
                tenant_id=books.tenant_id,
                model="m",
                images=1,
                megapixel_steps=1.0,
                gpu_milliseconds=1,
            )
        )
    before = await books.everything()
    with pytest.raises(IntegrityError, match="pk_usage_entries"):
        await end_well(books, claim)
    assert await books.everything() == before


async def test_nothing_is_stored_if_the_delivery_is_refused(books: Books) -> None:
    claim = await books.job_in(JobState.RUNNING)
    async with books.database.statement() as connection:
        await connection.execute(
            insert(Delivery).values(
                job_id=claim.job_id, tenant_id=books.tenant_id, event="job.succeeded", url=HOOK
            )
        )
    before = await books.everything()
    with pytest.raises(IntegrityError, match="uq_deliveries_job_id_event"):
        await end_well(books, claim)
    assert await books.everything() == before


async def test_a_failure_stores_its_reason_and_charges_nothing(books: Books) -> None:
    claim = await books.job_in(JobState.RUNNING)
    async with books.database.statement() as connection:
        ended = await fail(connection, claim, code="invalid_image", message="not an image")
    job = await books.job(claim.job_id)
    assert (job["state"], job["error_code"], job["error_message"], job["result"]) == (
        JobState.FAILED,
        "invalid_image",
        "not an image",
        None,
    )
    (delivery,) = await books.rows(Delivery)
    assert delivery["event"] == "job.failed"
    assert ended == EndedJob(claim.job_id, job["file_prefix"], delivery["id"])
    assert await books.rows(UsageEntry) == []


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_only_its_owner_cancels_a_job(
    books: Books, other_books: Books, state: JobState
) -> None:
    claim = await books.job_in(state)
    before = await books.everything()
    async with books.database.statement() as connection:
        stranger = other_books.tenant_id
        assert await cancel(connection, tenant_id=stranger, job_id=claim.job_id) is None
        assert await books.everything() == before
        ended = await cancel(connection, tenant_id=books.tenant_id, job_id=claim.job_id)
    job = await books.job(claim.job_id)
    assert (job["state"], job["error_code"], job["lease_expires_at"]) == (
        JobState.CANCELED,
        "canceled",
        None,
    )
    (delivery,) = await books.rows(Delivery)
    assert delivery["event"] == "job.canceled"
    assert ended == EndedJob(claim.job_id, job["file_prefix"], delivery["id"])
    assert await end_well(books, claim) is None


async def test_jobs_abandoned_on_their_last_attempt_have_failed(books: Books) -> None:
    first = await books.job_in(JobState.RUNNING, lease_expires_at=LONG_AGO, max_attempts=2)
    later = LONG_AGO + timedelta(seconds=1)
    second = await books.job_in(JobState.RUNNING, lease_expires_at=later, max_attempts=1)
    silent = await books.job_in(
        JobState.RUNNING, lease_expires_at=later, max_attempts=1, webhook_url=None
    )
    async with books.database.statement() as connection:
        (ended,) = await fail_abandoned(connection, limit=1)
        rest = await fail_abandoned(connection, limit=10)
        assert await fail_abandoned(connection, limit=10) == []
    assert ended.job_id == first.job_id
    assert {other.job_id for other in rest} == {second.job_id, silent.job_id}
    assert len(await books.rows(Delivery)) == 2
    job = await books.job(first.job_id)
    assert (job["state"], job["error_code"]) == (JobState.FAILED, "worker_lost")
    assert job["error_message"] == (
        "the process that ran the job stopped unexpectedly (tried 2 times)"
    )


async def test_jobs_that_waited_too_long_have_failed_the_oldest_first(books: Books) -> None:
    later = LONG_AGO + timedelta(seconds=1)
    second = await books.queued(columns={"created_at": later})
    silent = await books.queued(columns={"created_at": later}, webhook_url=None)
    again = {"created_at": LONG_AGO, "attempt": 1, "available_at": FAR_AHEAD}
    first = await books.queued(columns=again)
    young = await books.queued()
    async with books.database.statement() as connection:
        (ended,) = await fail_overdue(connection, max_queue_seconds=3600.0, limit=1)
        rest = await fail_overdue(connection, max_queue_seconds=3600.0, limit=10)
        assert await fail_overdue(connection, max_queue_seconds=3600.0, limit=10) == []
    assert ended.job_id == first
    assert {other.job_id for other in rest} == {second, silent}
    assert (await books.job(young))["state"] == JobState.QUEUED
    deliveries = await books.rows(Delivery)
    told = {(row["job_id"], row["event"]) for row in deliveries}
    assert told == {(first, "job.failed"), (second, "job.failed")}
    job = await books.job(first)
    assert (job["state"], job["error_code"]) == (JobState.FAILED, "queue_time_exceeded")
    assert job["error_message"] == "the job waited longer than the limit of 3600 seconds"
    assert job["finished_at"] is not None
