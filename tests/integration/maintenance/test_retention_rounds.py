"""One round: pictures, then rows, in batches; what the store holds up, and what it does not."""

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
from tests.integration.maintenance.stored_objects import Shelf, counted
from tests.integration.repositories.maintenance.test_retention import hours_ago, log_attempts
from tests.integration.repositories.support.counters import LONG_AGO
from worker.maintenance import retention as rounds

FOR_EVER = {
    "object_seconds": 0,
    "job_seconds": 0,
    "delivery_seconds": 0,
    "attempt_seconds": 0,
    "orphan_seconds": 0,
}
NO_WALK = {"orphan_seconds": 0}


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
async def test_pictures_go_and_their_row_stays_until_its_time(
    shelf: Shelf, state: JobState
) -> None:
    job = await shelf.job(state, finished_at=hours_ago(31 * 24))
    shelf.put(job.drawn(1), job.drawn(2), job.mask)
    before = counted()
    await shelf.run_round(shelf.retention(**NO_WALK))
    assert shelf.keys == set()
    assert (await shelf.books.job(job.job_id))["objects_deleted_at"] is not None
    assert counted() == before | {"images": before["images"] + 1}
    await shelf.books.set_job(job.job_id, finished_at=hours_ago(91 * 24))
    await shelf.run_round(shelf.retention(**NO_WALK))
    assert await shelf.job_ids() == []
    assert counted()["job"] == before["job"] + 1


async def test_pictures_of_young_and_unfinished_jobs_stay(shelf: Shelf) -> None:
    jobs = [
        await shelf.job(JobState.SUCCEEDED, finished_at=hours_ago(1)),
        await shelf.job(JobState.RUNNING, created_at=LONG_AGO),
        await shelf.job(JobState.QUEUED, created_at=LONG_AGO),
    ]
    keys = {key for job in jobs for key in (job.drawn(), job.mask)}
    shelf.put(*keys)
    await shelf.run_round(shelf.retention(**NO_WALK))
    assert shelf.keys == keys
    assert [row["objects_deleted_at"] for row in await shelf.books.rows(Job)] == [None] * 3


async def test_a_dispatcher_that_died_before_it_noted_a_deletion_is_made_up_for(
    shelf: Shelf,
) -> None:
    job = await shelf.job(JobState.SUCCEEDED)  # and its pictures are gone already
    await shelf.run_round(shelf.retention(**NO_WALK, job_seconds=0))
    assert (await shelf.books.job(job.job_id))["objects_deleted_at"] is not None


async def test_deliveries_and_attempts_go_by_settings_of_their_own(shelf: Shelf) -> None:
    sent = await shelf.books.delivery_in(DeliveryState.DELIVERED, finished_at=hours_ago(31 * 24))
    waiting = await shelf.books.delivery_in(DeliveryState.PENDING)
    await log_attempts(shelf.books, waiting.delivery_id, LONG_AGO, hours_ago(24))
    before = counted()
    await shelf.run_round(shelf.retention(**NO_WALK))
    assert [row["id"] for row in await shelf.books.rows(Delivery)] == [waiting.delivery_id]
    assert len(await shelf.books.rows(DeliveryAttempt)) == 1
    assert sent != waiting
    assert counted() == before | {
        "delivery": before["delivery"] + 1,
        "attempt": before["attempt"] + 1,
    }


async def test_nothing_goes_that_is_kept_for_ever(shelf: Shelf) -> None:
    job = await shelf.job(JobState.SUCCEEDED)
    await shelf.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    claim = await shelf.books.delivery_in(DeliveryState.DELIVERED, finished_at=LONG_AGO)
    await log_attempts(shelf.books, claim.delivery_id, LONG_AGO)
    keys = {job.drawn(1), job.drawn(2), job.mask}
    shelf.put(*keys)
    before = await shelf.books.everything()
    await shelf.run_round(shelf.retention(**FOR_EVER))
    await shelf.run_round(shelf.retention(**FOR_EVER))
    assert await shelf.books.everything() == before
    assert shelf.keys == keys


async def test_a_webhook_still_to_be_sent_holds_its_job_back(shelf: Shelf) -> None:
    claim = await shelf.books.delivery_in(DeliveryState.PENDING)
    (job_id,) = await shelf.job_ids()
    await shelf.books.set_job(job_id, finished_at=LONG_AGO)
    await shelf.run_round()
    assert await shelf.job_ids() == [job_id]
    await shelf.books.set_delivery(claim.delivery_id, state=DeliveryState.DELIVERED)
    await shelf.run_round()
    assert await shelf.job_ids() == []


async def test_more_than_a_batch(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ROWS", 2)
    monkeypatch.setattr(rounds, "JOBS", 2)
    jobs = [await shelf.job(JobState.SUCCEEDED) for _ in range(5)]
    shelf.put(*(job.drawn() for job in jobs))
    claim = await shelf.books.delivery_in(DeliveryState.PENDING)
    await log_attempts(shelf.books, claim.delivery_id, *[LONG_AGO] * 5)
    await shelf.run_round(shelf.retention(**NO_WALK))
    assert shelf.keys == set()
    assert len(await shelf.job_ids()) == 1
    assert await shelf.books.rows(DeliveryAttempt) == []


async def test_a_backlog_is_worked_off_over_several_rounds(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "JOBS", 1)
    monkeypatch.setattr(rounds, "BATCHES", 2)
    for _ in range(5):
        await shelf.job(JobState.FAILED)
    left = []
    for _ in range(3):
        await shelf.run_round(shelf.retention(**NO_WALK))
        left.append(len(await shelf.job_ids()))
    assert left == [3, 1, 0]


async def test_rows_do_not_wait_for_the_store(shelf: Shelf, bucket: StorageSettings) -> None:
    with_pictures = await shelf.job(JobState.SUCCEEDED)
    await shelf.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    await shelf.books.delivery_in(DeliveryState.DELIVERED, finished_at=LONG_AGO)
    shelf.put(with_pictures.drawn())
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    away = Storage(bucket.model_copy(update={"endpoint_url": nowhere, "timeout_seconds": 1.0}))
    retention = shelf.retention(away)
    with capture_logs() as lines:
        for _ in range(2):
            await shelf.run_round(retention)
        away.close()
        assert await shelf.job_ids() == [with_pictures.job_id, with_pictures.job_id + 2]
        assert await shelf.books.rows(Delivery) == []
        assert shelf.keys == {with_pictures.drawn()}
        for part in (retention, retention._orphans, retention._orphans._ownership):
            part._storage = shelf.storage  # the store is back
        await shelf.run_round(retention)
    assert shelf.keys == {MARKER_KEY}
    assert await shelf.job_ids() == [with_pictures.job_id + 2]
    told = [line for line in lines if line["event"].startswith("dependency")]
    assert [line["event"] for line in told] == ["dependency_unavailable", "dependency_available"]
    assert "connect" in told[0]["detail"]


class StopsAtOnce(Storage):
    """The process is told to stop while this deletes."""

    stopping: Any

    async def delete(self, keys: Collection[str]) -> None:
        await super().delete(keys)
        self.stopping.set()


async def test_stopping_in_the_middle(
    shelf: Shelf, bucket: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "JOBS", 2)
    jobs = [await shelf.job(JobState.SUCCEEDED) for _ in range(5)]
    await shelf.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    shelf.put(*(job.drawn() for job in jobs))
    storage = StopsAtOnce(bucket)
    storage.stopping = shelf.stopping
    await shelf.run_round(shelf.retention(storage))
    storage.close()
    assert shelf.keys == {job.drawn() for job in jobs[2:]}
    marked = [row["objects_deleted_at"] is not None for row in await shelf.books.rows(Job)]
    assert marked == [True, True, False, False, False, True]
    shelf.stopping.clear()  # another process goes on
    await shelf.run_round(shelf.retention(**NO_WALK))
    assert (shelf.keys, await shelf.job_ids()) == (set(), [])
