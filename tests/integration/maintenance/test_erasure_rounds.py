"""Erasure in rounds: batches, interrupted rounds, an unavailable store."""

from collections.abc import Collection
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from common.domain.delivery import DeliveryState
from common.domain.job import JobState
from common.domain.object_keys import MARKER_KEY
from common.object_store.storage import Storage
from common.postgres.models import Delivery
from common.settings import StorageSettings
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.integration.maintenance.deleted_tenants import (
    KEEP_FOREVER,
    add_rows_to_every_table,
    bob,
    bucket_is_ours,
    mark_for_deletion,
    retention,
    rows_of,
    states,
    tenant_exists,
)
from tests.integration.maintenance.stored_objects import StoredJobs
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.support.tenant_rows import LONG_AGO, TenantRows
from worker.maintenance import tenant_erasure as erasure
from worker.maintenance.retention import Retention

__all__ = ["bob", "bucket_is_ours", "retention"]  # fixtures from other modules


class InterruptedRoundError(Exception):
    """Ends a round where a process would die."""


STEPS = ["cancel_queued", "is_drained", "delete_ended_jobs", "delete_usage"]


@pytest.mark.parametrize("step", [*STEPS, "delete_drained_tenant"])
@pytest.mark.parametrize("after", [False, True])
async def test_an_interrupted_round_is_completed_by_the_next(
    stored_jobs: StoredJobs, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool
) -> None:
    await add_rows_to_every_table(stored_jobs.tenant)
    job = await stored_jobs.job(JobState.QUEUED)
    stored_jobs.put(job.mask)
    await mark_for_deletion(stored_jobs.tenant)
    verb = getattr(erasure, step)

    async def die(*arguments: Any, **named: Any) -> None:
        if after:
            await verb(*arguments, **named)
        raise InterruptedRoundError

    with monkeypatch.context() as patched:
        patched.setattr(erasure, step, die)
        with pytest.raises(InterruptedRoundError):
            await stored_jobs.run_round(stored_jobs.retention(**KEEP_FOREVER))
    await stored_jobs.run_round(stored_jobs.retention(**KEEP_FOREVER))
    assert set((await rows_of(stored_jobs.tenant)).values()) == {0}
    assert stored_jobs.keys == {MARKER_KEY}


async def test_large_tenants_are_erased_in_batches_over_several_rounds(
    stored_jobs: StoredJobs, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 2)
    monkeypatch.setattr(erasure, "BATCHES", 2)
    monkeypatch.setattr(erasure, "PAGES", 1)
    for _ in range(5):
        job = await stored_jobs.job(JobState.QUEUED)
        stored_jobs.put(job.mask)
    await mark_for_deletion(stored_jobs.tenant)
    seen = []
    while await tenant_exists(stored_jobs.tenant):
        await stored_jobs.run_round(retention)
        found = await states(stored_jobs.tenant)
        seen.append((found.count("queued"), len(found), len(stored_jobs.keys) - 1))
    assert seen == [(1, 5, 5), (0, 5, 0), (0, 1, 0), (0, 0, 0)]


async def test_usage_is_erased_in_batches(
    stored_jobs: StoredJobs, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 2)
    monkeypatch.setattr(erasure, "BATCHES", 2)
    entries = text(
        "INSERT INTO usage_entries (job_id, tenant_id, model, images, megapixel_steps,"
        " gpu_milliseconds) SELECT n, :id, 'm', 1, 1, 1 FROM generate_series(1, 5) AS n"
    )
    async with stored_jobs.database.statement() as connection:
        await connection.execute(entries, {"id": stored_jobs.tenant.tenant_id})
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    assert (await rows_of(stored_jobs.tenant))["usage_entries"] == 1
    await stored_jobs.run_round(retention)
    assert not await tenant_exists(stored_jobs.tenant)


class StopsAtOnce(Storage):
    """Store that asks the process to stop during its first deletion."""

    stopping: Any

    async def delete(self, keys: Collection[str]) -> None:
        await super().delete(keys)
        self.stopping.set()


async def test_an_erasure_stops_between_two_batches(
    stored_jobs: StoredJobs, bucket: StorageSettings
) -> None:
    job = await stored_jobs.job(JobState.SUCCEEDED)
    stored_jobs.put(job.output_key())
    await mark_for_deletion(stored_jobs.tenant)
    storage = StopsAtOnce(bucket)
    storage.stopping = stored_jobs.stopping
    await stored_jobs.run_round(stored_jobs.retention(storage, **KEEP_FOREVER))
    assert stored_jobs.keys == {MARKER_KEY}
    assert await states(stored_jobs.tenant) == ["succeeded"]
    await stored_jobs.run_round(
        stored_jobs.retention(storage, **KEEP_FOREVER)
    )  # stopped before it starts
    assert await states(stored_jobs.tenant) == ["succeeded"]
    storage.close()


async def test_without_the_store_jobs_are_canceled_and_rows_kept(
    stored_jobs: StoredJobs, bucket: StorageSettings
) -> None:
    await stored_jobs.job(JobState.QUEUED)
    done = await stored_jobs.job(JobState.SUCCEEDED)
    stored_jobs.put(done.output_key())
    await mark_for_deletion(stored_jobs.tenant)
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    unavailable = Storage(
        bucket.model_copy(update={"endpoint_url": nowhere, "timeout_seconds": 1.0})
    )
    with capture_logs() as lines:
        await stored_jobs.run_round(stored_jobs.retention(unavailable, **KEEP_FOREVER))
    unavailable.close()
    assert [line["event"] for line in lines] == ["dependency_unavailable"]
    assert await states(stored_jobs.tenant) == ["canceled", "succeeded"]
    await stored_jobs.run_round(stored_jobs.retention(**KEEP_FOREVER))
    assert not await tenant_exists(stored_jobs.tenant)
    assert stored_jobs.keys == {MARKER_KEY}


async def test_the_bucket_of_another_installation_is_left_alone(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    """The other installation has objects with the id of our tenant in their keys."""
    await stored_jobs.job(JobState.QUEUED)
    key = f"{stored_jobs.tenant.tenant_id}/generations/somebody.png"
    stored_jobs.put(key)
    stored_jobs.s3.put_object(Bucket=stored_jobs.bucket, Key=MARKER_KEY, Body=b"another")
    await mark_for_deletion(stored_jobs.tenant)
    with capture_logs() as lines:
        await stored_jobs.run_round(retention)
        await stored_jobs.run_round(retention)
    assert stored_jobs.keys == {MARKER_KEY, key}
    assert await states(stored_jobs.tenant) == ["canceled"]
    errors = [line["event"] for line in lines if line["log_level"] == "error"]
    assert errors == ["bucket_of_another_installation"]


async def test_an_unsent_webhook_is_erased_with_its_job(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    for state in (DeliveryState.PENDING, DeliveryState.SENDING):
        await stored_jobs.tenant.add_delivery(state, created_at=LONG_AGO)
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    assert not await tenant_exists(stored_jobs.tenant)
    assert await stored_jobs.tenant.read_rows(Delivery) == []


async def test_several_tenants_are_erased_in_one_round(
    stored_jobs: StoredJobs, bob: TenantRows, retention: Retention
) -> None:
    carol = await make_tenant(stored_jobs.database, "carol")
    await carol.add_job(JobState.RUNNING)  # a running job delays only its own tenant
    for tenant in (carol, stored_jobs.tenant, bob):
        await mark_for_deletion(tenant)
    await stored_jobs.run_round(retention)
    assert [await tenant_exists(tenant) for tenant in (stored_jobs.tenant, bob, carol)] == [
        False,
        False,
        True,
    ]


async def test_a_row_that_cannot_be_deleted_keeps_its_tenant(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    """An unknown table without a cascade: nothing is deleted, and the error is raised."""
    async with stored_jobs.database.statement() as connection:
        for statement in (
            "CREATE TABLE extras (tenant_id bigint REFERENCES tenants)",
            "INSERT INTO extras SELECT id FROM tenants",
        ):
            await connection.execute(text(statement))
    await mark_for_deletion(stored_jobs.tenant)
    with pytest.raises(DBAPIError, match="extras"):
        await stored_jobs.run_round(retention)
    assert await tenant_exists(stored_jobs.tenant)
