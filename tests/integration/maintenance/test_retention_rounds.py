"""Rounds of retention: images, then rows, in batches; with an unavailable store too."""

from collections.abc import Collection
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.domain.delivery import DeliveryState
from common.domain.job import FINAL_STATES, JobState
from common.domain.object_keys import MARKER_KEY
from common.object_store.storage import Storage
from common.postgres.models import Delivery, DeliveryAttempt, Job
from common.settings import StorageSettings
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.integration.maintenance.stored_objects import StoredJobs, deletion_counts
from tests.integration.repositories.maintenance.test_retention import hours_ago, log_attempts
from tests.integration.repositories.support.tenant_rows import LONG_AGO
from worker.maintenance import retention as rounds

KEEP_FOREVER = {
    "object_seconds": 0,
    "job_seconds": 0,
    "delivery_seconds": 0,
    "attempt_seconds": 0,
    "orphan_seconds": 0,
}
NO_WALK = {"orphan_seconds": 0}


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
async def test_images_are_deleted_before_their_row(
    stored_jobs: StoredJobs, state: JobState
) -> None:
    job = await stored_jobs.job(state, finished_at=hours_ago(31 * 24))
    stored_jobs.put(job.output_key(1), job.output_key(2), job.mask)
    before = deletion_counts()
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
    assert stored_jobs.keys == set()
    assert (await stored_jobs.tenant.read_job(job.job_id))["objects_deleted_at"] is not None
    assert deletion_counts() == before | {"images": before["images"] + 1}
    await stored_jobs.tenant.set_job(job.job_id, finished_at=hours_ago(91 * 24))
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
    assert await stored_jobs.job_ids() == []
    assert deletion_counts()["job"] == before["job"] + 1


async def test_images_of_young_and_unfinished_jobs_are_kept(stored_jobs: StoredJobs) -> None:
    jobs = [
        await stored_jobs.job(JobState.SUCCEEDED, finished_at=hours_ago(1)),
        await stored_jobs.job(JobState.RUNNING, created_at=LONG_AGO),
        await stored_jobs.job(JobState.QUEUED, created_at=LONG_AGO),
    ]
    keys = {key for job in jobs for key in (job.output_key(), job.mask)}
    stored_jobs.put(*keys)
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
    assert stored_jobs.keys == keys
    assert [row["objects_deleted_at"] for row in await stored_jobs.tenant.read_rows(Job)] == [
        None
    ] * 3


async def test_a_deletion_that_was_not_recorded_is_recorded_by_the_next_round(
    stored_jobs: StoredJobs,
) -> None:
    job = await stored_jobs.job(JobState.SUCCEEDED)  # and its images are deleted already
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK, job_seconds=0))
    assert (await stored_jobs.tenant.read_job(job.job_id))["objects_deleted_at"] is not None


async def test_deliveries_and_attempts_have_retention_settings_of_their_own(
    stored_jobs: StoredJobs,
) -> None:
    sent = await stored_jobs.tenant.add_delivery(
        DeliveryState.DELIVERED, finished_at=hours_ago(31 * 24)
    )
    waiting = await stored_jobs.tenant.add_delivery(DeliveryState.PENDING)
    await log_attempts(stored_jobs.tenant, waiting.delivery_id, LONG_AGO, hours_ago(24))
    before = deletion_counts()
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
    assert [row["id"] for row in await stored_jobs.tenant.read_rows(Delivery)] == [
        waiting.delivery_id
    ]
    assert len(await stored_jobs.tenant.read_rows(DeliveryAttempt)) == 1
    assert sent != waiting
    assert deletion_counts() == before | {
        "delivery": before["delivery"] + 1,
        "attempt": before["attempt"] + 1,
    }


async def test_nothing_is_deleted_if_everything_is_kept_forever(stored_jobs: StoredJobs) -> None:
    job = await stored_jobs.job(JobState.SUCCEEDED)
    await stored_jobs.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    claim = await stored_jobs.tenant.add_delivery(DeliveryState.DELIVERED, finished_at=LONG_AGO)
    await log_attempts(stored_jobs.tenant, claim.delivery_id, LONG_AGO)
    keys = {job.output_key(1), job.output_key(2), job.mask}
    stored_jobs.put(*keys)
    before = await stored_jobs.tenant.read_everything()
    await stored_jobs.run_round(stored_jobs.retention(**KEEP_FOREVER))
    await stored_jobs.run_round(stored_jobs.retention(**KEEP_FOREVER))
    assert await stored_jobs.tenant.read_everything() == before
    assert stored_jobs.keys == keys


async def test_a_pending_webhook_keeps_its_job(stored_jobs: StoredJobs) -> None:
    claim = await stored_jobs.tenant.add_delivery(DeliveryState.PENDING)
    (job_id,) = await stored_jobs.job_ids()
    await stored_jobs.tenant.set_job(job_id, finished_at=LONG_AGO)
    await stored_jobs.run_round()
    assert await stored_jobs.job_ids() == [job_id]
    await stored_jobs.tenant.set_delivery(claim.delivery_id, state=DeliveryState.DELIVERED)
    await stored_jobs.run_round()
    assert await stored_jobs.job_ids() == []


async def test_more_rows_than_a_batch_are_deleted_in_one_round(
    stored_jobs: StoredJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROWS", 2)
    monkeypatch.setattr(rounds, "JOBS", 2)
    jobs = [await stored_jobs.job(JobState.SUCCEEDED) for _ in range(5)]
    stored_jobs.put(*(job.output_key() for job in jobs))
    claim = await stored_jobs.tenant.add_delivery(DeliveryState.PENDING)
    await log_attempts(stored_jobs.tenant, claim.delivery_id, *[LONG_AGO] * 5)
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
    assert stored_jobs.keys == set()
    assert len(await stored_jobs.job_ids()) == 1
    assert await stored_jobs.tenant.read_rows(DeliveryAttempt) == []


async def test_a_backlog_is_deleted_over_several_rounds(
    stored_jobs: StoredJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "JOBS", 1)
    monkeypatch.setattr(rounds, "BATCHES", 2)
    for _ in range(5):
        await stored_jobs.job(JobState.FAILED)
    left = []
    for _ in range(3):
        await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
        left.append(len(await stored_jobs.job_ids()))
    assert left == [3, 1, 0]


async def test_rows_do_not_wait_for_the_store(
    stored_jobs: StoredJobs, bucket: StorageSettings
) -> None:
    with_images = await stored_jobs.job(JobState.SUCCEEDED)
    await stored_jobs.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    await stored_jobs.tenant.add_delivery(DeliveryState.DELIVERED, finished_at=LONG_AGO)
    stored_jobs.put(with_images.output_key())
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    unavailable = Storage(
        bucket.model_copy(update={"endpoint_url": nowhere, "timeout_seconds": 1.0})
    )
    retention = stored_jobs.retention(unavailable)
    with capture_logs() as lines:
        for _ in range(2):
            await stored_jobs.run_round(retention)
        unavailable.close()
        assert await stored_jobs.job_ids() == [with_images.job_id, with_images.job_id + 2]
        assert await stored_jobs.tenant.read_rows(Delivery) == []
        assert stored_jobs.keys == {with_images.output_key()}
        for part in (retention, retention._orphans, retention._orphans._ownership):
            part._storage = stored_jobs.storage  # the store is back
        await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY}
    assert await stored_jobs.job_ids() == [with_images.job_id + 2]
    logged = [line for line in lines if line["event"].startswith("dependency")]
    assert [line["event"] for line in logged] == ["dependency_unavailable", "dependency_available"]
    assert "connect" in logged[0]["detail"]


class StopsAtOnce(Storage):
    """Store that asks the process to stop during its first deletion."""

    stopping: Any

    async def delete(self, keys: Collection[str]) -> None:
        await super().delete(keys)
        self.stopping.set()


async def test_a_round_stops_between_two_batches(
    stored_jobs: StoredJobs, bucket: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "JOBS", 2)
    jobs = [await stored_jobs.job(JobState.SUCCEEDED) for _ in range(5)]
    await stored_jobs.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    stored_jobs.put(*(job.output_key() for job in jobs))
    storage = StopsAtOnce(bucket)
    storage.stopping = stored_jobs.stopping
    await stored_jobs.run_round(stored_jobs.retention(storage))
    storage.close()
    assert stored_jobs.keys == {job.output_key() for job in jobs[2:]}
    marked = [
        row["objects_deleted_at"] is not None for row in await stored_jobs.tenant.read_rows(Job)
    ]
    assert marked == [True, True, False, False, False, True]
    stored_jobs.stopping.clear()  # another process goes on
    await stored_jobs.run_round(stored_jobs.retention(**NO_WALK))
    assert (stored_jobs.keys, await stored_jobs.job_ids()) == (set(), [])
