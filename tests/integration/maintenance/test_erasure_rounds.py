"""Erasure in rounds: in batches, broken off and made up for, and with the store away."""

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
    FOR_EVER,
    bob,
    bucket_is_ours,
    have_everything,
    is_there,
    leave,
    retention,
    rows_of,
    states,
)
from tests.integration.maintenance.stored_objects import Shelf
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.support.counters import LONG_AGO, Books
from worker.maintenance import tenant_erasure as erasure
from worker.maintenance.retention import Retention

__all__ = ["bob", "bucket_is_ours", "retention"]  # fixtures made elsewhere

STEPS = ["cancel_queued", "is_drained", "delete_ended_jobs", "delete_usage"]


@pytest.mark.parametrize("step", [*STEPS, "delete_drained_tenant"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_round_that_broke_off_is_made_up_for(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool
) -> None:
    await have_everything(shelf.books)
    job = await shelf.job(JobState.QUEUED)
    shelf.put(job.mask)
    await leave(shelf.books)
    verb = getattr(erasure, step)

    async def die(*arguments: Any, **named: Any) -> None:
        if after:
            await verb(*arguments, **named)
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(erasure, step, die)
        with pytest.raises(ConnectionResetError):
            await shelf.run_round(shelf.retention(**FOR_EVER))
    await shelf.run_round(shelf.retention(**FOR_EVER))
    assert set((await rows_of(shelf.books)).values()) == {0}
    assert shelf.keys == {MARKER_KEY}


async def test_large_tenants_go_in_batches_over_several_rounds(
    shelf: Shelf, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 2)
    monkeypatch.setattr(erasure, "BATCHES", 2)
    monkeypatch.setattr(erasure, "PAGES", 1)
    for _ in range(5):
        job = await shelf.job(JobState.QUEUED)
        shelf.put(job.mask)
    await leave(shelf.books)
    seen = []
    while await is_there(shelf.books):
        await shelf.run_round(retention)
        found = await states(shelf.books)
        seen.append((found.count("queued"), len(found), len(shelf.keys) - 1))
    assert seen == [(1, 5, 5), (0, 5, 0), (0, 1, 0), (0, 0, 0)]


async def test_much_usage_goes_in_batches(
    shelf: Shelf, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "ROWS", 2)
    monkeypatch.setattr(erasure, "BATCHES", 2)
    entries = text(
        "INSERT INTO usage_entries (job_id, tenant_id, model, images, megapixel_steps,"
        " gpu_milliseconds) SELECT n, :id, 'm', 1, 1, 1 FROM generate_series(1, 5) AS n"
    )
    async with shelf.database.statement() as connection:
        await connection.execute(entries, {"id": shelf.books.tenant_id})
    await leave(shelf.books)
    await shelf.run_round(retention)
    assert (await rows_of(shelf.books))["usage_entries"] == 1
    await shelf.run_round(retention)
    assert not await is_there(shelf.books)


class StopsAtOnce(Storage):
    """The process is told to stop while this deletes."""

    stopping: Any

    async def delete(self, keys: Collection[str]) -> None:
        await super().delete(keys)
        self.stopping.set()


async def test_it_stops_between_two_batches(shelf: Shelf, bucket: StorageSettings) -> None:
    job = await shelf.job(JobState.SUCCEEDED)
    shelf.put(job.drawn())
    await leave(shelf.books)
    storage = StopsAtOnce(bucket)
    storage.stopping = shelf.stopping
    await shelf.run_round(shelf.retention(storage, **FOR_EVER))
    assert shelf.keys == {MARKER_KEY}
    assert await states(shelf.books) == ["succeeded"]
    await shelf.run_round(shelf.retention(storage, **FOR_EVER))  # told to stop before it begins
    assert await states(shelf.books) == ["succeeded"]
    storage.close()


async def test_without_the_store_jobs_are_canceled_and_rows_stay(
    shelf: Shelf, bucket: StorageSettings
) -> None:
    await shelf.job(JobState.QUEUED)
    done = await shelf.job(JobState.SUCCEEDED)
    shelf.put(done.drawn())
    await leave(shelf.books)
    nowhere = f"http://{LOOPBACK}:{free_port()}"
    away = Storage(bucket.model_copy(update={"endpoint_url": nowhere, "timeout_seconds": 1.0}))
    with capture_logs() as lines:
        await shelf.run_round(shelf.retention(away, **FOR_EVER))
    away.close()
    assert [line["event"] for line in lines] == ["dependency_unavailable"]
    assert await states(shelf.books) == ["canceled", "succeeded"]
    await shelf.run_round(shelf.retention(**FOR_EVER))
    assert not await is_there(shelf.books)
    assert shelf.keys == {MARKER_KEY}


async def test_the_bucket_of_another_installation_is_left_alone(
    shelf: Shelf, retention: Retention
) -> None:
    """Under our tenant's number stands what is somebody else's there."""
    await shelf.job(JobState.QUEUED)
    key = f"{shelf.books.tenant_id}/generations/somebody.png"
    shelf.put(key)
    shelf.s3.put_object(Bucket=shelf.bucket, Key=MARKER_KEY, Body=b"another")
    await leave(shelf.books)
    with capture_logs() as lines:
        await shelf.run_round(retention)
        await shelf.run_round(retention)
    assert shelf.keys == {MARKER_KEY, key}
    assert await states(shelf.books) == ["canceled"]
    said = [line["event"] for line in lines if line["log_level"] == "error"]
    assert said == ["bucket_of_another_installation"]


async def test_a_webhook_not_yet_sent_goes_with_its_job(shelf: Shelf, retention: Retention) -> None:
    for state in (DeliveryState.PENDING, DeliveryState.SENDING):
        await shelf.books.delivery_in(state, created_at=LONG_AGO)
    await leave(shelf.books)
    await shelf.run_round(retention)
    assert not await is_there(shelf.books)
    assert await shelf.books.rows(Delivery) == []


async def test_several_tenants_go_in_one_round(
    shelf: Shelf, bob: Books, retention: Retention
) -> None:
    carol = await make_tenant(shelf.database, "carol")
    await carol.job_in(JobState.RUNNING)  # who is still at work holds nobody else up
    for whose in (carol, shelf.books, bob):
        await leave(whose)
    await shelf.run_round(retention)
    assert [await is_there(whose) for whose in (shelf.books, bob, carol)] == [False, False, True]


async def test_a_row_that_cannot_go_keeps_its_tenant(shelf: Shelf, retention: Retention) -> None:
    """A table nobody told us of, without a cascade: all stays consistent, and it is said."""
    async with shelf.database.statement() as connection:
        for statement in (
            "CREATE TABLE extras (tenant_id bigint REFERENCES tenants)",
            "INSERT INTO extras SELECT id FROM tenants",
        ):
            await connection.execute(text(statement))
    await leave(shelf.books)
    with pytest.raises(DBAPIError, match="extras"):
        await shelf.run_round(retention)
    assert await is_there(shelf.books)
