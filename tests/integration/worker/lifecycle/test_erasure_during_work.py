"""A tenant is deleted while a worker runs its job: the job is finished, then all is erased."""

import asyncio

import pytest
from structlog.testing import capture_logs

from common.postgres.models import Job
from common.postgres.repositories.maintenance.requeue import requeue_expired
from common.settings import RetentionSettings
from tests.integration.maintenance.deleted_tenants import mark_for_deletion, rows_of, tenant_exists
from tests.integration.repositories.usage.test_ledger import read
from tests.integration.worker.harness.engine_control import EngineResponse
from tests.integration.worker.harness.worker_harness import WorkerHarness
from worker.maintenance.retention import Retention


async def run_round(harness: WorkerHarness) -> None:
    """Run one round of retention; the first only writes the bucket's marker."""
    retention = Retention(harness.database, harness.storage, RetentionSettings())
    async with harness.database.statement() as connection:
        await retention.run_round(connection, asyncio.Event())


async def states(harness: WorkerHarness) -> list[str]:
    return [row["state"] for row in await harness.tenant.read_rows(Job)]


async def test_a_running_job_is_finished_before_its_tenant_is_erased(
    harness: WorkerHarness,
) -> None:
    await run_round(harness)
    may_draw = harness.engine_control.hold_next()
    await harness.queue_inpaint()
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        order = await harness.engine_control.generation()
        await harness.queue_inpaint()
        await mark_for_deletion(harness.tenant)
        for _ in range(2):
            await run_round(harness)
            assert await states(harness) == ["running", "canceled"]
            await worker.heartbeat.renew_leases()
        assert not order.ended
        may_draw.set()
        with capture_logs() as lines:
            await running_jobs
    assert not order.stopped
    assert "claim_lost" not in {line["event"] for line in lines}
    assert await states(harness) == ["succeeded", "canceled"]
    (line,) = await read(harness.tenant)
    assert line.jobs == 1
    await run_round(harness)
    assert set((await rows_of(harness.tenant)).values()) == {0}
    objects = (await harness.storage.list_page(None)).objects
    assert [found.key.split("/")[0] for found in objects] == [".infill"]


@pytest.mark.parametrize("response", ["fail", "reject"])
async def test_a_failing_job_of_a_deleted_tenant_is_not_retried(
    harness: WorkerHarness, response: str
) -> None:
    await run_round(harness)
    hold = asyncio.Event()
    harness.engine_control.responses.append(EngineResponse(response, hold=hold))
    await harness.queue_inpaint()
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        await mark_for_deletion(harness.tenant)
        await run_round(harness)
        hold.set()
        await running_jobs
    await run_round(harness)
    assert not await tenant_exists(harness.tenant)
    assert len(harness.engine_control.generations) == 1


async def test_a_dead_worker_delays_the_erasure_until_its_lease_expires(
    harness: WorkerHarness,
) -> None:
    await run_round(harness)
    harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint()
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        await mark_for_deletion(harness.tenant)
        await run_round(harness)
        assert await tenant_exists(harness.tenant)
        await harness.age_lease(job_id)
        async with harness.database.statement() as connection:
            assert await requeue_expired(connection, limit=10) == 1
        await run_round(harness)
        assert not await tenant_exists(harness.tenant)
        worker.runner.stop_claiming()
        await worker.heartbeat.renew_leases()  # it is alive after all, and finds its claim lost
        await running_jobs


async def test_no_job_of_a_deleted_tenant_is_claimed(harness: WorkerHarness) -> None:
    await harness.queue_inpaint()
    await mark_for_deletion(harness.tenant, seconds_ago=0)
    async with harness.worker() as worker:
        assert await worker.runner.run_waiting_jobs("one") == 0
    assert await states(harness) == ["queued"]
