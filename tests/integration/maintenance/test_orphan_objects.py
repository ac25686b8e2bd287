"""Objects that no job names are deleted; all others are kept."""

from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from common.domain.job import FINAL_STATES, JobState
from common.domain.object_keys import MARKER_KEY, input_key, result_key
from common.object_store.storage import Storage
from common.postgres.repositories.maintenance.retention import read_bucket_cursor
from common.settings import StorageSettings
from tests.integration.maintenance.stored_objects import StoredJobs, deletion_counts
from tests.integration.repositories.maintenance.test_retention import hours_ago
from tests.integration.repositories.support.tenant_rows import LONG_AGO
from worker.maintenance import orphan_objects as orphans
from worker.maintenance.retention import Retention

# Images of ended jobs are kept: only orphans are deleted.
KEPT = {"object_seconds": 0, "job_seconds": 0}


@pytest.fixture
async def retention(stored_jobs: StoredJobs) -> Retention:
    """Return retention with a bucket that has our marker."""
    retention = stored_jobs.retention(**KEPT)
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY}
    return retention


async def test_a_superseded_attempts_image_is_deleted_and_the_winners_kept(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    job = await stored_jobs.job(JobState.SUCCEEDED)
    stored_jobs.put(job.output_key(1), job.output_key(2), job.output_key(3), job.mask)
    before = deletion_counts()
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY, job.output_key(2), job.mask}
    assert deletion_counts()["orphan"] == before["orphan"] + 2


@pytest.mark.parametrize("state", sorted(FINAL_STATES - {JobState.SUCCEEDED}))
async def test_a_failed_jobs_outputs_are_deleted_and_its_inputs_kept(
    stored_jobs: StoredJobs, retention: Retention, state: JobState
) -> None:
    job = await stored_jobs.job(state)
    stored_jobs.put(job.output_key(1), job.output_key(2), job.mask)
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY, job.mask}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_an_unfinished_jobs_objects_are_kept(
    stored_jobs: StoredJobs, retention: Retention, state: JobState
) -> None:
    job = await stored_jobs.job(state, created_at=LONG_AGO)
    keys = {job.output_key(1), job.output_key(2), job.mask}
    stored_jobs.put(*keys)
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == keys | {MARKER_KEY}


async def test_images_of_a_request_that_was_never_recorded_are_deleted(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    old, young = (input_key(stored_jobs.tenant.tenant_id, uuid4(), "init_image") for _ in range(2))
    stored_jobs.put(old)
    stored_jobs.put(young, modified_at=hours_ago(23))
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY, young}


async def test_young_objects_are_kept(stored_jobs: StoredJobs, retention: Retention) -> None:
    job = await stored_jobs.job(JobState.FAILED)
    stored_jobs.put_now(job.output_key(2))
    await stored_jobs.run_round(retention)
    assert job.output_key(2) in stored_jobs.keys


async def test_an_object_uploaded_after_the_deletion_is_deleted(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    """A worker that was thought dead finishes its upload."""
    job = await stored_jobs.job(JobState.SUCCEEDED, objects_deleted_at=LONG_AGO)
    stored_jobs.put(job.output_key(2), job.mask)
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY}


async def test_foreign_objects_are_never_touched(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    output = result_key(stored_jobs.tenant.tenant_id, uuid4(), 1, 0)
    foreign = {f"backup/{output}", f"{output}.bak", "postgres.dump", "1/generations/cat.png"}
    stored_jobs.put(*foreign)
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == foreign | {MARKER_KEY}


async def test_a_bucket_without_a_marker_gets_ours_and_is_collected_from_then_on(
    stored_jobs: StoredJobs,
) -> None:
    orphan = result_key(stored_jobs.tenant.tenant_id, uuid4(), 1, 0)
    stored_jobs.put(orphan)
    retention = stored_jobs.retention()
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY, orphan}
    async with stored_jobs.database.statement() as connection:
        cursor = await read_bucket_cursor(connection)
    assert await stored_jobs.storage.get(MARKER_KEY) == str(cursor.installation_id).encode()
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY}


async def test_a_bucket_of_another_installation_is_left_alone(stored_jobs: StoredJobs) -> None:
    theirs = str(uuid4())
    await stored_jobs.storage.put(MARKER_KEY, theirs.encode())
    image = result_key(stored_jobs.tenant.tenant_id, uuid4(), 1, 0)
    stored_jobs.put(image)
    retention = stored_jobs.retention()
    with capture_logs() as lines:
        for _ in range(3):
            await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY, image}
    assert await stored_jobs.storage.get(MARKER_KEY) == theirs.encode()
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("bucket_of_another_installation", "error")
    assert line["theirs"] == theirs
    await stored_jobs.storage.delete(
        [MARKER_KEY]
    )  # as an operator does that knows the bucket to be ours
    for _ in range(2):
        await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY}


async def test_without_an_orphan_age_nothing_is_collected(stored_jobs: StoredJobs) -> None:
    orphan = result_key(stored_jobs.tenant.tenant_id, uuid4(), 1, 0)
    stored_jobs.put(orphan)
    for _ in range(2):
        await stored_jobs.run_round(stored_jobs.retention(orphan_seconds=0))
    assert stored_jobs.keys == {orphan}


@pytest.mark.usefixtures("retention")
async def test_a_round_continues_where_the_last_process_stopped(
    stored_jobs: StoredJobs, bucket: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "PAGES", 1)
    prefixes = sorted(str(uuid4()) for _ in range(4))
    keys = [f"1/generations/{prefix}-1-0.png" for prefix in prefixes]
    stored_jobs.put(*keys)
    left = []
    for _ in range(4):  # each round by another process
        storage = Storage(bucket)
        events = storage._client.meta.events
        events.register("before-parameter-build.s3.ListObjectsV2", two_at_a_time)
        await stored_jobs.run_round(stored_jobs.retention(storage, **KEPT))
        storage.close()
        left.append(sorted(stored_jobs.keys - {MARKER_KEY}))
        if len(left) == 3:
            stored_jobs.put(keys[0])  # before the cursor: found by the next listing
    # The marker is the first of the first page.
    assert left == [keys[1:], keys[3:], [], []]


def two_at_a_time(params: dict[str, Any], **_: Any) -> None:
    params["MaxKeys"] = 2
