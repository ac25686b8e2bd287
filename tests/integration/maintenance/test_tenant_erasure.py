"""A tenant being deleted: disabled, drained, erased, and nothing of it is left behind."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import insert, text
from structlog.testing import capture_logs

from common.domain.job import JobState
from common.domain.object_keys import MARKER_KEY
from common.postgres.database import Database
from common.postgres.models import AuditEntry, Delivery, Job
from common.postgres.repositories.jobs.finish import succeed
from common.settings import GatewaySettings
from deploy.local.processes.readiness import until_ready
from tests.integration.maintenance.deleted_tenants import (
    FOR_EVER,
    bob,
    bucket_is_ours,
    everything,
    have_everything,
    is_there,
    leave,
    retention,
    rows_of,
    states,
)
from tests.integration.maintenance.stored_objects import Shelf
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.support.counters import RESULT, Books
from worker.maintenance import tenant_erasure as erasure
from worker.maintenance.retention import Retention

__all__ = ["bob", "bucket_is_ours", "retention"]  # fixtures made elsewhere


async def test_nothing_is_left_behind(shelf: Shelf, database: Database) -> None:
    """Every table is looked through as the models list them: a new one cannot be forgotten."""
    before = await everything(database)
    carol = await make_tenant(database, "carol")
    await have_everything(carol)
    full = await rows_of(carol)
    assert min(full.values()) > 0, f"the test leaves a table empty: {full}"
    await leave(carol)
    await shelf.run_round(shelf.retention(**FOR_EVER))
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
    await shelf.run_round(retention)
    assert shelf.keys == kept
    assert not await is_there(shelf.books)
    assert await is_there(bob)


async def test_others_keep_every_row(shelf: Shelf, bob: Books, retention: Retention) -> None:
    for whose in (shelf.books, bob):
        await have_everything(whose)
    waiting = await bob.queued()
    theirs = await rows_of(bob)
    await leave(shelf.books)
    await shelf.run_round(retention)
    assert set((await rows_of(shelf.books)).values()) == {0}
    assert await rows_of(bob) == theirs
    assert (await bob.job(waiting))["state"] == "queued"


async def test_the_audit_stays(shelf: Shelf, retention: Retention) -> None:
    entry = {"actor": "cli", "action": "tenant.delete", "tenant": "alice", "details": {}}
    async with shelf.database.statement() as connection:
        await connection.execute(insert(AuditEntry).values(**entry))
    await leave(shelf.books)
    await shelf.run_round(retention)
    assert not await is_there(shelf.books)
    assert [row["tenant"] for row in await shelf.books.rows(AuditEntry)] == ["alice"]


async def test_nothing_is_touched_before_the_gateways_have_forgotten(
    shelf: Shelf, retention: Retention
) -> None:
    job = await shelf.job(JobState.QUEUED)
    shelf.put(job.mask)
    await leave(shelf.books, seconds_ago=GatewaySettings().auth_cache_seconds + 10)
    before = await everything(shelf.database)
    await shelf.run_round(retention)
    assert await everything(shelf.database) == before
    assert job.mask in shelf.keys


async def test_a_tenant_that_is_only_disabled_stays(shelf: Shelf, retention: Retention) -> None:
    await shelf.job(JobState.QUEUED)
    async with shelf.database.statement() as connection:
        await connection.execute(text("UPDATE tenants SET disabled_at = now() - interval '1 year'"))
    before = await everything(shelf.database)
    await shelf.run_round(retention)
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
        await shelf.run_round(retention)
        await shelf.run_round(retention)
    assert await states(shelf.books) == ["running", "succeeded", *["canceled"] * 3]
    assert await shelf.books.rows(Delivery) == []  # nobody is told
    assert REGISTRY.get_sample_value(name, labels) == canceled + 3
    assert done.drawn() in shelf.keys
    assert [line["event"] for line in lines] == ["tenant_is_draining"] * 2
    async with shelf.database.statement() as connection:
        assert await succeed(connection, running, RESULT) is not None
    with capture_logs() as lines:
        await shelf.run_round(retention)
    assert not await is_there(shelf.books)
    assert shelf.keys == {MARKER_KEY}
    erased = [line["tenant_id"] for line in lines if line["event"] == "tenant_erased"]
    assert erased == [shelf.books.tenant_id]


async def test_a_canceled_job_says_why(shelf: Shelf, retention: Retention) -> None:
    await shelf.books.job_in(JobState.RUNNING)
    job_id = await shelf.books.queued()
    await leave(shelf.books)
    await shelf.run_round(retention)
    job = await shelf.books.job(job_id)
    assert (job["state"], job["error_code"]) == ("canceled", "canceled")
    assert job["error_message"] == "its tenant is being deleted"
    assert job["finished_at"] is not None


async def test_a_job_that_waits_again_is_canceled_then(shelf: Shelf, retention: Retention) -> None:
    running = await shelf.books.job_in(JobState.RUNNING)
    await leave(shelf.books)
    await shelf.run_round(retention)
    await shelf.books.set_job(running.job_id, state=JobState.QUEUED, lease_expires_at=None)
    await shelf.run_round(retention)
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
        await shelf.run_round(retention)
    assert await states(shelf.books) == ["queued"]
    assert await is_there(shelf.books)
    await shelf.run_round(retention)
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
        going = asyncio.create_task(shelf.run_round(retention))
        await until_ready(shelf.books.somebody_waits, "the deletion", 20)
    await going
    assert not await is_there(shelf.books)
    assert await shelf.job_ids() == []
