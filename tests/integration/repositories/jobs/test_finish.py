"""Finishing a job: everything is stored, or nothing."""

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
from tests.integration.repositories.support.tenant_rows import (
    FAR_AHEAD,
    HOOK,
    LONG_AGO,
    RESULT,
    TenantRows,
)


async def finish_with_result(
    alice: TenantRows, claim: Claim, result: JobResult = RESULT
) -> EndedJob | None:
    async with alice.database.statement() as connection:
        return await succeed(connection, claim, result)


async def test_success_stores_result_usage_and_delivery(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING, error_code="fetch_failed", error_message="once")
    ended = await finish_with_result(alice, claim)
    job = await alice.read_job(claim.job_id)
    assert JobResult.from_json(job["result"]) == RESULT
    assert (job["state"], job["error_code"], job["error_message"]) == (
        JobState.SUCCEEDED,
        None,
        None,
    )
    assert (job["claimed_by"], job["lease_expires_at"]) == (None, None)
    assert job["finished_at"] is not None

    (usage,) = await alice.read_rows(UsageEntry)
    assert usage == {
        "job_id": claim.job_id,
        "tenant_id": alice.tenant_id,
        "model": "sd15-inpainting",
        "images": 2,
        "megapixel_steps": 10.0,
        "gpu_milliseconds": 1910,
        "created_at": usage["created_at"],
        "flagged_images": 1,
    }
    (delivery,) = await alice.read_rows(Delivery)
    assert (delivery["job_id"], delivery["tenant_id"]) == (claim.job_id, alice.tenant_id)
    assert (delivery["event"], delivery["url"], delivery["state"]) == (
        "job.succeeded",
        HOOK,
        DeliveryState.PENDING,
    )
    assert (delivery["attempt"], delivery["failures"]) == (0, 0)
    assert delivery["available_at"] == job["finished_at"]
    assert ended == EndedJob(claim.job_id, job["file_prefix"], delivery["id"])


async def test_without_a_webhook_no_delivery_is_stored(alice: TenantRows) -> None:
    job_id = await alice.queue_job(webhook_url=None)
    ended = await finish_with_result(alice, (await alice.claim_job()).claim)
    assert ended == EndedJob(job_id, (await alice.read_job(job_id))["file_prefix"], None)
    assert await alice.read_rows(Delivery) == []
    assert len(await alice.read_rows(UsageEntry)) == 1


async def test_nothing_is_stored_if_the_usage_entry_fails(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING)
    async with alice.database.statement() as connection:
        await connection.execute(
            insert(UsageEntry).values(
                job_id=claim.job_id,
                tenant_id=alice.tenant_id,
                model="m",
                images=1,
                megapixel_steps=1.0,
                gpu_milliseconds=1,
            )
        )
    before = await alice.read_everything()
    with pytest.raises(IntegrityError, match="pk_usage_entries"):
        await finish_with_result(alice, claim)
    assert await alice.read_everything() == before


async def test_nothing_is_stored_if_the_delivery_fails(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING)
    async with alice.database.statement() as connection:
        await connection.execute(
            insert(Delivery).values(
                job_id=claim.job_id, tenant_id=alice.tenant_id, event="job.succeeded", url=HOOK
            )
        )
    before = await alice.read_everything()
    with pytest.raises(IntegrityError, match="uq_deliveries_job_id_event"):
        await finish_with_result(alice, claim)
    assert await alice.read_everything() == before


async def test_a_failure_stores_its_reason_and_charges_nothing(alice: TenantRows) -> None:
    claim = await alice.add_job(JobState.RUNNING)
    async with alice.database.statement() as connection:
        ended = await fail(connection, claim, code="invalid_image", message="not an image")
    job = await alice.read_job(claim.job_id)
    assert (job["state"], job["error_code"], job["error_message"], job["result"]) == (
        JobState.FAILED,
        "invalid_image",
        "not an image",
        None,
    )
    (delivery,) = await alice.read_rows(Delivery)
    assert delivery["event"] == "job.failed"
    assert ended == EndedJob(claim.job_id, job["file_prefix"], delivery["id"])
    assert await alice.read_rows(UsageEntry) == []


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_only_its_owner_cancels_a_job(
    alice: TenantRows, bob: TenantRows, state: JobState
) -> None:
    claim = await alice.add_job(state)
    before = await alice.read_everything()
    async with alice.database.statement() as connection:
        stranger = bob.tenant_id
        assert await cancel(connection, tenant_id=stranger, job_id=claim.job_id) is None
        assert await alice.read_everything() == before
        ended = await cancel(connection, tenant_id=alice.tenant_id, job_id=claim.job_id)
    job = await alice.read_job(claim.job_id)
    assert (job["state"], job["error_code"], job["lease_expires_at"]) == (
        JobState.CANCELED,
        "canceled",
        None,
    )
    (delivery,) = await alice.read_rows(Delivery)
    assert delivery["event"] == "job.canceled"
    assert ended == EndedJob(claim.job_id, job["file_prefix"], delivery["id"])
    assert await finish_with_result(alice, claim) is None


async def test_jobs_abandoned_on_their_last_attempt_fail(alice: TenantRows) -> None:
    first = await alice.add_job(JobState.RUNNING, lease_expires_at=LONG_AGO, max_attempts=2)
    later = LONG_AGO + timedelta(seconds=1)
    second = await alice.add_job(JobState.RUNNING, lease_expires_at=later, max_attempts=1)
    silent = await alice.add_job(
        JobState.RUNNING, lease_expires_at=later, max_attempts=1, webhook_url=None
    )
    async with alice.database.statement() as connection:
        (ended,) = await fail_abandoned(connection, limit=1)
        rest = await fail_abandoned(connection, limit=10)
        assert await fail_abandoned(connection, limit=10) == []
    assert ended.job_id == first.job_id
    assert {other.job_id for other in rest} == {second.job_id, silent.job_id}
    assert len(await alice.read_rows(Delivery)) == 2
    job = await alice.read_job(first.job_id)
    assert (job["state"], job["error_code"]) == (JobState.FAILED, "worker_lost")
    assert job["error_message"] == (
        "the process that ran the job stopped unexpectedly (tried 2 times)"
    )


async def test_overdue_jobs_fail_oldest_first(alice: TenantRows) -> None:
    later = LONG_AGO + timedelta(seconds=1)
    second = await alice.queue_job(columns={"created_at": later})
    silent = await alice.queue_job(columns={"created_at": later}, webhook_url=None)
    again = {"created_at": LONG_AGO, "attempt": 1, "available_at": FAR_AHEAD}
    first = await alice.queue_job(columns=again)
    young = await alice.queue_job()
    async with alice.database.statement() as connection:
        (ended,) = await fail_overdue(connection, max_queue_seconds=3600.0, limit=1)
        rest = await fail_overdue(connection, max_queue_seconds=3600.0, limit=10)
        assert await fail_overdue(connection, max_queue_seconds=3600.0, limit=10) == []
    assert ended.job_id == first
    assert {other.job_id for other in rest} == {second, silent}
    assert (await alice.read_job(young))["state"] == JobState.QUEUED
    deliveries = await alice.read_rows(Delivery)
    events = {(row["job_id"], row["event"]) for row in deliveries}
    assert events == {(first, "job.failed"), (second, "job.failed")}
    job = await alice.read_job(first)
    assert (job["state"], job["error_code"]) == (JobState.FAILED, "queue_time_exceeded")
    assert job["error_message"] == "the job was still queued after the maximum of 3600 seconds"
    assert job["finished_at"] is not None
