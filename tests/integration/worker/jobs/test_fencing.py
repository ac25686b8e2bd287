"""Fencing: a worker that lost its claim changes nothing any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from common.postgres.repositories.fair_queue.recount import mark_ready_tenants
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.maintenance.requeue import requeue_expired
from common.runtime.clock import utc_now
from tests.integration.worker.harness.engine_control import EngineResponse
from tests.integration.worker.harness.worker_harness import WorkerHarness

Take = Callable[[WorkerHarness, int], Awaitable[None]]


async def requeued(harness: WorkerHarness, job_id: int) -> None:
    """Requeue the job, as the sweeper does for a worker that looks dead."""
    await harness.age_lease(job_id)
    async with harness.database.statement() as connection:
        assert await requeue_expired(connection, limit=10) == 1
        await mark_ready_tenants(connection)


async def finished_by_another(harness: WorkerHarness, job_id: int) -> None:
    """Requeue the job and let another worker finish it."""
    await requeued(harness, job_id)
    async with harness.worker("w2") as second:
        assert await second.runner.run_waiting_jobs("one") == 1


async def canceled(harness: WorkerHarness, job_id: int) -> None:
    async with harness.database.statement() as connection:
        ended = await cancel(connection, tenant_id=harness.tenant.tenant_id, job_id=job_id)
    assert ended is not None


@pytest.mark.parametrize(
    ("take", "state", "attempt", "traces"),
    [
        (requeued, "queued", 1, (0, 0)),
        (finished_by_another, "succeeded", 2, (1, 1)),
        (canceled, "canceled", 1, (1, 0)),
    ],
)
async def test_a_generation_stops_once_the_claim_is_lost(
    harness: WorkerHarness, take: Take, state: str, attempt: int, traces: tuple[int, int]
) -> None:
    harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint()
    async with harness.worker("w1") as first:
        with capture_logs() as lines:
            running_jobs = asyncio.create_task(first.runner.run_waiting_jobs("one"))
            order = await harness.engine_control.generation()
            await take(harness, job_id)
            first.runner.stop_claiming()
            before = await harness.tenant.read_everything()
            await first.heartbeat.renew_leases()
            await running_jobs
    await harness.engine_control.wait_until(lambda: order.stopped)
    assert await harness.tenant.read_everything() == before
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == (state, attempt)
    assert await harness.count_records(job_id) == traces
    lost = [line for line in lines if line["event"] in {"claim_lost", "result_dropped"}]
    assert [(line["event"], line["log_level"]) for line in lost] == [
        ("claim_lost", "warning"),
        ("result_dropped", "info"),
    ]
    assert (lost[0]["job_id"], lost[0]["attempt"]) == (job_id, 1)
    assert lost[0]["tenant_id"] == harness.tenant.tenant_id


@pytest.mark.parametrize("response", ["generate", "fail", "reject", "crash"])
@pytest.mark.parametrize("take", [requeued, finished_by_another, canceled])
async def test_a_late_result_changes_nothing(
    harness: WorkerHarness, take: Take, response: str
) -> None:
    """The worker does not know yet that it lost its claim."""
    hold = asyncio.Event()
    harness.engine_control.responses.append(EngineResponse(response, hold))
    job_id = await harness.queue_inpaint()
    async with harness.worker("w1") as first:
        running_jobs = asyncio.create_task(first.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        await take(harness, job_id)
        first.runner.stop_claiming()
        before = await harness.tenant.read_everything()
        hold.set()
        with capture_logs() as lines:
            await running_jobs
    assert await harness.tenant.read_everything() == before
    assert not {"job_succeeded", "job_failed", "job_retry_scheduled"} & {
        line["event"] for line in lines
    }


async def test_a_late_release_changes_nothing(harness: WorkerHarness) -> None:
    harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint()
    async with harness.worker("w1") as first:
        running_jobs = asyncio.create_task(first.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        await finished_by_another(harness, job_id)
        before = await harness.tenant.read_everything()
        first.runner.stop_claiming()
        first.runner.release_jobs()
        await running_jobs
    assert await harness.tenant.read_everything() == before


async def test_a_job_canceled_while_it_waits_for_the_engine_is_not_generated(
    harness: WorkerHarness,
) -> None:
    hold = harness.engine_control.hold_next()
    await harness.queue_inpaint()
    waiting = await harness.queue_inpaint(inputs=harness.input_images(mask="late.png"))
    harness.image_host.pages["/late.png"] = harness.image_host.pages["/mask.png"]
    arrived = harness.image_host.hold("late.png")
    async with harness.worker() as worker:
        running_jobs = [
            asyncio.create_task(worker.runner.run_waiting_jobs("one")) for _ in range(2)
        ]
        await harness.engine_control.generation()
        await harness.image_host.wait_for_request("late.png")
        await canceled(harness, waiting)
        await worker.heartbeat.renew_leases()
        arrived.set()
        hold.set()
        await asyncio.gather(*running_jobs)
    assert len(harness.engine_control.generations) == 1
    assert (await harness.tenant.read_job(waiting))["state"] == "canceled"


async def test_one_statement_renews_all_claims(harness: WorkerHarness) -> None:
    jobs = [await harness.queue_inpaint(), await harness.queue_inpaint(asked={"model": "two"})]
    hold = harness.image_host.hold("init.png")
    statements: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        statements.append(statement)

    async with harness.worker() as worker:
        running_jobs = [asyncio.create_task(worker.runner.run_waiting_jobs("one")) for _ in jobs]
        await harness.image_host.wait_for_request("init.png", 2)
        assert worker.heartbeat.claim_count == 2
        soon = utc_now()
        for job_id in jobs:
            await harness.tenant.set_job(job_id, lease_expires_at=soon)
        engine = harness.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", record)
        await worker.heartbeat.renew_leases()
        event.remove(engine, "before_cursor_execute", record)
        for job_id in jobs:
            lease = (await harness.tenant.read_job(job_id))["lease_expires_at"]
            assert 50 < (lease - soon).total_seconds() < 120
        hold.set()
        await asyncio.gather(*running_jobs)
        await worker.heartbeat.wait_until_idle()
    assert [statement.split()[1] for statement in statements] == ["INTO", "jobs"]


async def test_a_job_that_ends_during_a_heartbeat_is_not_reported_as_lost(
    harness: WorkerHarness,
) -> None:
    job_id = await harness.queue_inpaint()
    hold = harness.image_host.hold("init.png")
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.image_host.wait_for_request("init.png")
        with capture_logs() as lines:
            async with harness.database.transaction() as locking:
                # While this transaction locks the row the heartbeat waits, and the job ends.
                await locking.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
                beating = asyncio.create_task(worker.heartbeat.renew_leases())
                await wait_for_blocked_query(harness)
                running_jobs.cancel()
                await asyncio.gather(running_jobs, return_exceptions=True)
                assert worker.heartbeat.claim_count == 0
                await ends(locking, job_id)
            await beating
        hold.set()
    assert [line["event"] for line in lines] == []


async def ends(connection: AsyncConnection, job_id: int) -> None:
    await connection.execute(
        text("UPDATE jobs SET state = 'queued', lease_expires_at = NULL WHERE id = :id"),
        {"id": job_id},
    )


async def wait_for_blocked_query(harness: WorkerHarness) -> None:
    blocked = text("SELECT 1 FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(20), harness.database.statement() as connection:
        while (await connection.execute(blocked)).first() is None:
            pass  # each query waits for Postgres
