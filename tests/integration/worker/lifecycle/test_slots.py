"""How many jobs a worker claims, and which it leaves to others."""

import asyncio

from structlog.testing import capture_logs

from common.postgres.models import Worker
from common.runtime.clock import utc_now
from common.settings import JobSettings, Settings
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_runtime import running, settings

__all__ = ["settings"]  # a fixture from another module

BEAT_SECONDS = 0.05


async def test_a_worker_without_rings_fills_its_slots_and_claims_no_more(
    settings: Settings, harness: WorkerHarness
) -> None:
    """Without rings, as in an outage of Redis, jobs overlap all the same."""
    settings.worker = settings.worker.model_copy(update={"concurrency": 2})
    hold = harness.image_host.hold("init.png")
    jobs = [await harness.queue_inpaint() for _ in range(3)]
    async with running(settings, harness) as runtime:
        await harness.image_host.wait_for_request("init.png", 2)
        rung = asyncio.create_task(asyncio.to_thread(runtime.claim_waiting_jobs, "one"))
        async with asyncio.timeout(20):
            while await count_heartbeats(harness) < 10:
                pass  # each query waits for Postgres
        assert [row["id"] for row in await harness.jobs_in_state("running")] == jobs[:2]
        hold.set()
        await rung
        await harness.image_host.wait_for_request("init.png", 3)
    rows = [await harness.tenant.read_job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 3


async def count_heartbeats(harness: WorkerHarness) -> int:
    """Return how long the worker has lived, in heartbeats."""
    rows = await harness.tenant.read_rows(Worker)
    lived = [(row["seen_at"] - row["started_at"]).total_seconds() for row in rows]
    return int(sum(lived) / BEAT_SECONDS)


async def test_a_failed_heartbeat_is_repeated_soon(harness: WorkerHarness) -> None:
    """Not after the interval of half an hour: leases expire during an outage."""
    seldom = JobSettings(lease_seconds=7200, heartbeat_seconds=1800)
    async with harness.replace(jobs=seldom).worker() as worker:
        worker.heartbeat.postgres.mark_unavailable(ConnectionError())
        beating = asyncio.create_task(worker.heartbeat.run())
        async with asyncio.timeout(20):
            while not await harness.tenant.read_rows(Worker):
                pass  # each query waits for Postgres
        assert worker.heartbeat.postgres.is_available
        beating.cancel()


async def test_a_job_of_a_newer_release_is_left_to_its_workers(harness: WorkerHarness) -> None:
    job_id = await harness.queue_text2img()
    request = (await harness.tenant.read_job(job_id))["request"]
    await harness.tenant.set_job(job_id, request=request | {"tiling": True})
    other = await harness.queue_text2img()
    async with harness.worker() as worker:
        with capture_logs() as lines:
            await worker.runner.run_waiting_jobs("one")
            await worker.runner.run_waiting_jobs("one")
        assert worker.heartbeat.claim_count == 0
    row = await harness.tenant.read_job(job_id)
    assert (row["state"], row["attempt"], row["max_attempts"]) == ("queued", 1, 4)
    assert row["available_at"] > utc_now()
    assert (await harness.tenant.read_job(other))["state"] == "succeeded"
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert (line["event"], line["job_id"]) == ("job_unreadable", job_id)
