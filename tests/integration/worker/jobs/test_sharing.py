"""How jobs share a worker: round robin among queues, transfers beside generations."""

import asyncio

import pytest

from common.domain.generation import Endpoint
from common.postgres.models import UsageEntry
from common.settings import WorkerSettings
from tests.integration.worker.harness.engine import PART
from tests.integration.worker.harness.worker_harness import WorkerHarness


@pytest.mark.parametrize(
    ("rung", "expected"),
    [
        ("one", ["one", "two", "one", "two", "one", "one"]),
        ("two", ["two", "one", "two", "one", "one", "one"]),
        ("a queue it does not serve", ["one", "two", "one", "two", "one", "one"]),
    ],
)
async def test_queues_are_served_round_robin(
    harness: WorkerHarness, rung: str, expected: list[str]
) -> None:
    harness = harness.replace(worker_settings=WorkerSettings(concurrency=1))
    for queue in ("one",) * 4 + ("two",) * 2:
        await harness.queue_inpaint(
            inputs={}, asked={"model": queue, "endpoint": Endpoint.TEXT2IMG}
        )
    async with harness.worker() as worker:
        assert await worker.runner.run_waiting_jobs(rung) == 6
    assert [order.model for order in harness.engine_control.generations] == expected


async def test_one_claim_fills_all_free_slots(harness: WorkerHarness) -> None:
    holds = [harness.engine_control.hold_next() for _ in range(4)]
    for _ in holds:
        await harness.queue_text2img()
    harness = harness.replace(worker_settings=WorkerSettings(concurrency=3))
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation(3)
        assert (worker.heartbeat.claim_count, worker.runner.slots.free) == (3, 0)
        assert len(await harness.jobs_in_state("queued")) == 1
        for hold in holds:
            hold.set()
        assert await running_jobs == 4
        assert worker.runner.slots.free == 3


async def test_a_stopped_worker_claims_nothing(harness: WorkerHarness) -> None:
    job_id = await harness.queue_inpaint()
    async with harness.worker() as worker:
        worker.runner.stop_claiming()
        assert await worker.runner.run_waiting_jobs("one") == 0
    assert (await harness.tenant.read_job(job_id))["attempt"] == 0


async def test_each_fetched_job_is_handed_to_the_engine_at_once(harness: WorkerHarness) -> None:
    """A slow fetch delays no generation, and a generation delays no fetch."""
    holds = [harness.engine_control.hold_next() for _ in range(2)]
    harness.image_host.pages["/late.png"] = harness.image_host.pages["/mask.png"]
    arrived = harness.image_host.hold("late.png")
    jobs = [await harness.queue_inpaint() for _ in holds]
    jobs.append(await harness.queue_inpaint(inputs=harness.input_images(mask="late.png")))
    async with harness.worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation(2)
        await harness.image_host.wait_for_request("late.png")
        assert worker.heartbeat.claim_count == 3
        arrived.set()
        await harness.engine_control.generation(3)
        assert harness.engine_control.most_at_once == 3
        for hold in holds:
            hold.set()
        await running_jobs
    rows = [await harness.tenant.read_job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["succeeded"] * 3
    for row in rows:
        result = row["result"]
        assert result["engine_seconds"] == pytest.approx(result["generation_seconds"] * PART)
    usage = {
        row["job_id"]: row["gpu_milliseconds"] for row in await harness.tenant.read_rows(UsageEntry)
    }
    parts = {row["id"]: round(row["result"]["engine_seconds"] * 1000) for row in rows}
    assert usage == parts
