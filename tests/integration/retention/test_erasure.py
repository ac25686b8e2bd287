"""A tenant being deleted: disabled, drained, erased, and nothing of it is left behind."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from common.database import Database
from common.domain.delivery import DeliveryState
from common.domain.job import JobState
from common.domain.objects import MARKER_KEY
from common.models import AuditEntry, Delivery, Job
from common.repositories.outcomes import succeed
from common.repositories.retention import find_place
from common.settings import GatewaySettings, StorageSettings
from common.storage import Storage
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.readiness import until_ready
from tests.integration.repositories.books import LONG_AGO, RESULT, Books
from tests.integration.repositories.conftest import make_tenant
from tests.integration.retention.leaving import (
    everything,
    have_everything,
    is_there,
    leave,
    rows_of,
)
from tests.integration.retention.shelf import Shelf
from worker import erasure
from worker.retention import Retention

FOR_EVER: dict[str, Any] = {
    f"{kind}_seconds": 0 for kind in ("object", "job", "delivery", "attempt", "orphan")
}


@pytest.fixture
async def bob(database: Database) -> Books:
    """Give a tenant nothing happens to."""
    return await make_tenant(database, "bob")


@pytest.fixture
def retention(shelf: Shelf) -> Retention:
    """Keep everything for ever: what goes, goes with its tenant."""
    return shelf.retention(**FOR_EVER)


@pytest.fixture(autouse=True)
async def bucket_is_ours(shelf: Shelf) -> None:
    """Let a dispatcher have been here before, so that the bucket has a name."""
    async with shelf.database.statement() as connection:
        place = await find_place(connection)
    name = str(place.installation_id).encode()
    shelf.s3.put_object(Bucket=shelf.bucket, Key=MARKER_KEY, Body=name)


async def states(books: Books) -> list[str]:
    return [row["state"] for row in await books.rows(Job)]


async def test_nothing_is_left_behind(shelf: Shelf, database: Database) -> None:
    """Every table is looked through as the models list them: a new one cannot be forgotten."""
    before = await everything(database)
    carol = await make_tenant(database, "carol")
    await have_everything(carol)
    full = await rows_of(carol)
    assert min(full.values()) > 0, f"the test leaves a table empty: {full}"
    await leave(carol)
    await shelf.go_round(shelf.retention(**FOR_EVER))
    assert set((await rows_of(carol)).values()) == {0}
    assert await everything(database) == before


async def test_all_its_objects_go_and_nobody_elses(
    shelf: Shelf, bob: Books, retention: Retention
) -> None:
    ours, theirs = shelf.books.tenant_id, bob.tenant_id
    job = await shelf.job(JobState.SUCCEEDED)
    kept = {f"{theirs}/generations/x.png", f"{ours}0/inputs/y", f"x{ours}/z", MARKER_KEY}
    shelf.put(*kept - {MARKER_KEY})
    shelf.put(job.drawn(), job.mask, f"{ours}/generations/what-is-this", f"{ours}/more/a/b")
    shelf.put_now(job.drawn(9))
    await leave(shelf.books)
    await shelf.go_round(retention)
    assert shelf.keys == kept
    assert not await is_there(shelf.books)
    assert await is_there(bob)


async def test_others_keep_every_row(shelf: Shelf, bob: Books, retention: Retention) -> None:
    for whose in (shelf.books, bob):
        await have_everything(whose)
    waiting = await bob.queued()
    theirs = await rows_of(bob)
    await leave(shelf.books)
    await shelf.go_round(retention)
    assert set((await rows_of(shelf.books)).values()) == {0}
    assert await rows_of(bob) == theirs
    assert (await bob.job(waiting))["state"] == "queued"


async def test_the_audit_stays(shelf: Shelf, retention: Retention) -> None:
    entry = {"actor": "cli", "action": "tenant.delete", "tenant": "alice", "details": {}}
    async with shelf.database.statement() as connection:
        await connection.execute(insert(AuditEntry).values(**entry))
    await leave(shelf.books)
    await shelf.go_round(retention)
    assert not await is_there(shelf.books)
    assert [row["tenant"] for row in await shelf.books.rows(AuditEntry)] == ["alice"]


async def test_nothing_is_touched_before_the_gateways_have_forgotten(
    shelf: Shelf, retention: Retention
) -> None:
    job = await shelf.job(JobState.QUEUED)
    shelf.put(job.mask)
    await leave(shelf.books, seconds_ago=GatewaySettings().auth_cache_seconds + 10)
    before = await everything(shelf.database)
    await shelf.go_round(retention)
    assert await everything(shelf.database) == before
    assert job.mask in shelf.keys


async def test_a_tenant_that_is_only_disabled_stays(shelf: Shelf, retention: Retention) -> None:
    await shelf.job(JobState.QUEUED)
    async with shelf.database.statement() as connection:
        await connection.execute(text("UPDATE tenants SET disabled_at = now() - interval '1 year'"))
    before = await everything(shelf.database)
    await shelf.go_round(retention)
    assert await everything(shelf.database) == before


async def test_waiting_jobs_are_canceled_and_running_ones_waited_for(
    shelf: Shelf, retention: Retention
) -> None:
    running = await shelf.books.job_in(JobState.RUNNING)
    done = await shelf.job(JobState.SUCCEEDED)
    for _ in range(3):
        await shelf.job(JobState.QUEUED)
    shelf.put(done.drawn())
    await leave(shelf.books)
    name, labels = "infill_jobs_ended_total", {"outcome": "canceled"}
    canceled = REGISTRY.get_sample_value(name, labels) or 0
    with capture_logs() as lines:
        await shelf.go_round(retention)
        await shelf.go_round(retention)
    assert await states(shelf.books) == ["running", "succeeded", *["canceled"] * 3]
    assert await shelf.books.rows(Delivery) == []  # nobody is told
    assert REGISTRY.get_sample_value(name, labels) == canceled + 3
    assert done.drawn() in shelf.keys
    assert [line["event"] for line in lines] == ["tenant_is_draining"] * 2
    async with shelf.database.statement() as connection:
        assert await succeed(connection, running, RESULT) is not None
    with capture_logs() as lines:
        await shelf.go_round(retention)
    assert not await is_there(shelf.books)
    assert shelf.keys == {MARKER_KEY}
    erased = [line["tenant_id"] for line in lines if line["event"] == "tenant_erased"]
    assert erased == [shelf.books.tenant_id]


async def test_a_canceled_job_says_why(shelf: Shelf, retention: Retention) -> None:
    await shelf.books.job_in(JobState.RUNNING)
    job_id = await shelf.books.queued()
    await leave(shelf.books)
    await shelf.go_round(retention)
    job = await shelf.books.job(job_id)
    assert (job["state"], job["error_code"]) == ("canceled", "canceled")
    assert job["error_message"] == "its tenant is being deleted"
    assert job["finished_at"] is not None


async def test_a_job_that_waits_again_is_canceled_then(shelf: Shelf, retention: Retention) -> None:
    running = await shelf.books.job_in(JobState.RUNNING)
    await leave(shelf.books)
    await shelf.go_round(retention)
    await shelf.books.set_job(running.job_id, state=JobState.QUEUED, lease_expires_at=None)
    await shelf.go_round(retention)
    assert not await is_there(shelf.books)


async def test_a_job_of_the_last_moment_is_taken_along(
    shelf: Shelf, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that trusts a key it has seen submits between any two steps."""
    late = []

    async def submit(*_: object, **__: object) -> int:
        late.append(await shelf.job(JobState.QUEUED))
        shelf.put_now(late[-1].mask)
        return 0

    await leave(shelf.books)
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "delete_usage", submit)
        await shelf.go_round(retention)
    assert await states(shelf.books) == ["queued"]
    assert await is_there(shelf.books)
    await shelf.go_round(retention)
    assert not await is_there(shelf.books)
    assert shelf.keys == {MARKER_KEY}


async def test_a_job_being_recorded_while_its_tenant_goes_goes_along(
    shelf: Shelf, retention: Retention
) -> None:
    await leave(shelf.books)
    insertion = insert(Job).values(
        tenant_id=shelf.books.tenant_id,
        file_prefix="6d0a5b1e-0000-4000-8000-000000000000",
        queue="q",
        max_attempts=1,
        request={},
        inputs={},
        base64=False,
        cost=1.0,
    )
    async with shelf.database.transaction() as connection:
        await connection.execute(insertion)
        going = asyncio.create_task(shelf.go_round(retention))
        await until_ready(shelf.books.somebody_waits, "the deletion", 20)
    await going
    assert not await is_there(shelf.books)
    assert await shelf.job_ids() == []


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
            await shelf.go_round(shelf.retention(**FOR_EVER))
    await shelf.go_round(shelf.retention(**FOR_EVER))
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
        await shelf.go_round(retention)
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
    await shelf.go_round(retention)
    assert (await rows_of(shelf.books))["usage_entries"] == 1
    await shelf.go_round(retention)
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
    await shelf.go_round(shelf.retention(storage, **FOR_EVER))
    assert shelf.keys == {MARKER_KEY}
    assert await states(shelf.books) == ["succeeded"]
    await shelf.go_round(shelf.retention(storage, **FOR_EVER))  # told to stop before it begins
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
        await shelf.go_round(shelf.retention(away, **FOR_EVER))
    away.close()
    assert [line["event"] for line in lines] == ["part_went_away"]
    assert await states(shelf.books) == ["canceled", "succeeded"]
    await shelf.go_round(shelf.retention(**FOR_EVER))
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
        await shelf.go_round(retention)
        await shelf.go_round(retention)
    assert shelf.keys == {MARKER_KEY, key}
    assert await states(shelf.books) == ["canceled"]
    said = [line["event"] for line in lines if line["log_level"] == "error"]
    assert said == ["bucket_of_another_installation"]


async def test_a_webhook_not_yet_sent_goes_with_its_job(shelf: Shelf, retention: Retention) -> None:
    for state in (DeliveryState.PENDING, DeliveryState.SENDING):
        await shelf.books.delivery_in(state, created_at=LONG_AGO)
    await leave(shelf.books)
    await shelf.go_round(retention)
    assert not await is_there(shelf.books)
    assert await shelf.books.rows(Delivery) == []


async def test_several_tenants_go_in_one_round(
    shelf: Shelf, bob: Books, retention: Retention
) -> None:
    carol = await make_tenant(shelf.database, "carol")
    await carol.job_in(JobState.RUNNING)  # who is still at work holds nobody else up
    for whose in (carol, shelf.books, bob):
        await leave(whose)
    await shelf.go_round(retention)
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
        await shelf.go_round(retention)
    assert await is_there(shelf.books)
