"""Erasure of a tenant: drained, then deleted with all its rows and objects."""

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
from deploy.local.processes.readiness import wait_until_ready
from tests.integration.maintenance.deleted_tenants import (
    KEEP_FOREVER,
    add_rows_to_every_table,
    bob,
    bucket_is_ours,
    everything,
    mark_for_deletion,
    retention,
    rows_of,
    states,
    tenant_exists,
)
from tests.integration.maintenance.stored_objects import StoredJobs
from tests.integration.repositories.conftest import make_tenant
from tests.integration.repositories.support.tenant_rows import RESULT, TenantRows
from worker.maintenance import tenant_erasure as erasure
from worker.maintenance.retention import Retention

__all__ = ["bob", "bucket_is_ours", "retention"]  # fixtures from other modules


async def test_an_erasure_deletes_every_row_of_its_tenant(
    stored_jobs: StoredJobs, database: Database
) -> None:
    """Every table of the models is checked, so that a new one cannot be forgotten."""
    before = await everything(database)
    carol = await make_tenant(database, "carol")
    await add_rows_to_every_table(carol)
    full = await rows_of(carol)
    assert min(full.values()) > 0, f"the test leaves a table empty: {full}"
    await mark_for_deletion(carol)
    await stored_jobs.run_round(stored_jobs.retention(**KEEP_FOREVER))
    assert set((await rows_of(carol)).values()) == {0}
    assert await everything(database) == before


async def test_only_the_erased_tenants_objects_are_deleted(
    stored_jobs: StoredJobs, bob: TenantRows, retention: Retention
) -> None:
    ours, theirs = stored_jobs.tenant.tenant_id, bob.tenant_id
    job = await stored_jobs.job(JobState.SUCCEEDED)
    kept = {f"{theirs}/generations/x.png", f"{ours}0/inputs/y", f"x{ours}/z", MARKER_KEY}
    stored_jobs.put(*kept - {MARKER_KEY})
    stored_jobs.put(
        job.output_key(), job.mask, f"{ours}/generations/what-is-this", f"{ours}/more/a/b"
    )
    stored_jobs.put_now(job.output_key(9))
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    assert stored_jobs.keys == kept
    assert not await tenant_exists(stored_jobs.tenant)
    assert await tenant_exists(bob)


async def test_an_erasure_keeps_every_row_of_other_tenants(
    stored_jobs: StoredJobs, bob: TenantRows, retention: Retention
) -> None:
    for tenant in (stored_jobs.tenant, bob):
        await add_rows_to_every_table(tenant)
    waiting = await bob.queue_job()
    theirs = await rows_of(bob)
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    assert set((await rows_of(stored_jobs.tenant)).values()) == {0}
    assert await rows_of(bob) == theirs
    assert (await bob.read_job(waiting))["state"] == "queued"


async def test_the_audit_log_is_kept(stored_jobs: StoredJobs, retention: Retention) -> None:
    entry = {"actor": "cli", "action": "tenant.delete", "tenant": "alice", "details": {}}
    async with stored_jobs.database.statement() as connection:
        await connection.execute(insert(AuditEntry).values(**entry))
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    assert not await tenant_exists(stored_jobs.tenant)
    assert [row["tenant"] for row in await stored_jobs.tenant.read_rows(AuditEntry)] == ["alice"]


async def test_nothing_is_erased_before_gateway_caches_have_expired(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    job = await stored_jobs.job(JobState.QUEUED)
    stored_jobs.put(job.mask)
    await mark_for_deletion(
        stored_jobs.tenant, seconds_ago=GatewaySettings().auth_cache_seconds + 10
    )
    before = await everything(stored_jobs.database)
    await stored_jobs.run_round(retention)
    assert await everything(stored_jobs.database) == before
    assert job.mask in stored_jobs.keys


async def test_a_disabled_tenant_is_not_erased(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    await stored_jobs.job(JobState.QUEUED)
    async with stored_jobs.database.statement() as connection:
        await connection.execute(text("UPDATE tenants SET disabled_at = now() - interval '1 year'"))
    before = await everything(stored_jobs.database)
    await stored_jobs.run_round(retention)
    assert await everything(stored_jobs.database) == before


async def test_waiting_jobs_are_canceled_and_running_ones_waited_for(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    running = await stored_jobs.tenant.add_job(JobState.RUNNING)
    done = await stored_jobs.job(JobState.SUCCEEDED)
    for _ in range(3):
        await stored_jobs.job(JobState.QUEUED)
    stored_jobs.put(done.output_key())
    await mark_for_deletion(stored_jobs.tenant)
    name, labels = "infill_jobs_ended_total", {"outcome": "canceled"}
    canceled = REGISTRY.get_sample_value(name, labels) or 0
    with capture_logs() as lines:
        await stored_jobs.run_round(retention)
        await stored_jobs.run_round(retention)
    assert await states(stored_jobs.tenant) == ["running", "succeeded", *["canceled"] * 3]
    assert await stored_jobs.tenant.read_rows(Delivery) == []  # no webhook is sent
    assert REGISTRY.get_sample_value(name, labels) == canceled + 3
    assert done.output_key() in stored_jobs.keys
    assert [line["event"] for line in lines] == ["tenant_is_draining"] * 2
    async with stored_jobs.database.statement() as connection:
        assert await succeed(connection, running, RESULT) is not None
    with capture_logs() as lines:
        await stored_jobs.run_round(retention)
    assert not await tenant_exists(stored_jobs.tenant)
    assert stored_jobs.keys == {MARKER_KEY}
    erased = [line["tenant_id"] for line in lines if line["event"] == "tenant_erased"]
    assert erased == [stored_jobs.tenant.tenant_id]


async def test_a_canceled_job_has_an_error_message(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    await stored_jobs.tenant.add_job(JobState.RUNNING)
    job_id = await stored_jobs.tenant.queue_job()
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    job = await stored_jobs.tenant.read_job(job_id)
    assert (job["state"], job["error_code"]) == ("canceled", "canceled")
    assert job["error_message"] == "the job was canceled because its tenant is being deleted"
    assert job["finished_at"] is not None


async def test_a_requeued_job_of_a_deleted_tenant_is_canceled(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    running = await stored_jobs.tenant.add_job(JobState.RUNNING)
    await mark_for_deletion(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    await stored_jobs.tenant.set_job(running.job_id, state=JobState.QUEUED, lease_expires_at=None)
    await stored_jobs.run_round(retention)
    assert not await tenant_exists(stored_jobs.tenant)


async def test_a_job_submitted_during_the_erasure_is_erased_by_the_next_round(
    stored_jobs: StoredJobs, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway with a cached key submits between two steps."""
    late = []

    async def submit(*_: object, **__: object) -> int:
        late.append(await stored_jobs.job(JobState.QUEUED))
        stored_jobs.put_now(late[-1].mask)
        return 0

    await mark_for_deletion(stored_jobs.tenant)
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "delete_usage", submit)
        await stored_jobs.run_round(retention)
    assert await states(stored_jobs.tenant) == ["queued"]
    assert await tenant_exists(stored_jobs.tenant)
    await stored_jobs.run_round(retention)
    assert not await tenant_exists(stored_jobs.tenant)
    assert stored_jobs.keys == {MARKER_KEY}


async def test_a_job_recorded_during_the_erasure_is_erased_too(
    stored_jobs: StoredJobs, retention: Retention
) -> None:
    await mark_for_deletion(stored_jobs.tenant)
    insertion = insert(Job).values(
        tenant_id=stored_jobs.tenant.tenant_id,
        file_prefix="6d0a5b1e-0000-4000-8000-000000000000",
        queue="q",
        max_attempts=1,
        request={},
        inputs={},
        base64=False,
        cost=1.0,
    )
    async with stored_jobs.database.transaction() as connection:
        await connection.execute(insertion)
        going = asyncio.create_task(stored_jobs.run_round(retention))
        await wait_until_ready(stored_jobs.tenant.is_blocked, "the deletion", 20)
    await going
    assert not await tenant_exists(stored_jobs.tenant)
    assert await stored_jobs.job_ids() == []
