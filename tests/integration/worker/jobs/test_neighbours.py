"""A tenant whose images arrive slowly, or take long to decode, delays no other tenant."""

import asyncio

import pytest

from common.settings import JobSettings, Settings, WorkerSettings
from tests.integration.repositories.conftest import make_tenant
from tests.integration.worker.harness.image_host import INIT, http_response
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_runtime import running, settings
from tests.unit.worker.engine.image_sandbox import odd_decoder

__all__ = ["settings"]  # a fixture from another module

SLOW_JOBS = 24
CONCURRENCY = WorkerSettings().concurrency


async def second_tenant(harness: WorkerHarness, name: str = "bob") -> WorkerHarness:
    """Return a harness that queues jobs of another tenant for the same workers."""
    return harness.replace(tenant=await make_tenant(harness.database, name))


async def queue_slow_jobs(harness: WorkerHarness, image: str, number: int = SLOW_JOBS) -> None:
    for _ in range(number):
        await harness.queue_inpaint(inputs=harness.input_images(init=image))


async def wait_for_success(harness: WorkerHarness, job_id: int) -> None:
    """Wait until the job has succeeded."""
    async with asyncio.timeout(60):
        while (await harness.tenant.read_job(job_id))["state"] != "succeeded":
            pass  # each query waits for Postgres


@pytest.mark.parametrize("concurrency", [1, 2, CONCURRENCY])
async def test_a_job_ends_while_all_jobs_of_its_neighbour_wait_for_a_silent_host(
    harness: WorkerHarness, concurrency: int
) -> None:
    harness = harness.replace(worker_settings=WorkerSettings(concurrency=concurrency))
    neighbour = await second_tenant(harness)
    hold = harness.image_host.hold("silent.png")
    await queue_slow_jobs(neighbour, "silent.png")
    async with harness.worker() as worker:
        slow = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.image_host.wait_for_request("silent.png", concurrency)
        jobs = [await harness.queue_inpaint() for _ in range(3)]
        quick = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        for job_id in jobs:
            await wait_for_success(harness, job_id)
        # The neighbour alone held as many claims as there are slots, and no more.
        assert len(await neighbour.jobs_in_state("running")) == concurrency
        assert len(await neighbour.jobs_in_state("queued")) == SLOW_JOBS - concurrency
        hold.set()
        await asyncio.gather(slow, quick)
    # The host knows no such path.
    assert len(await neighbour.jobs_in_state("failed")) == SLOW_JOBS


async def test_a_ring_is_heard_although_every_job_of_a_neighbour_was_rung_for(
    settings: Settings, harness: WorkerHarness
) -> None:
    """The thread that receives a ring does not wait for the images of the job it claimed."""
    settings.jobs = JobSettings(sweep_seconds=3600)
    neighbour = await second_tenant(harness)
    hold = harness.image_host.hold("silent.png")
    async with running(settings, harness) as runtime:
        for number in range(1, SLOW_JOBS + 1):
            await queue_slow_jobs(neighbour, "silent.png", 1)
            await asyncio.to_thread(runtime.claim_waiting_jobs, "one")
            await harness.image_host.wait_for_request("silent.png", min(number, CONCURRENCY))
        assert runtime.count_free_slots() == CONCURRENCY - 1
        job_id = await harness.queue_inpaint()
        await asyncio.to_thread(runtime.claim_waiting_jobs, "one")
        await wait_for_success(harness, job_id)
        assert len(await neighbour.jobs_in_state("running")) == CONCURRENCY
        hold.set()


async def test_a_job_ends_while_the_images_of_its_neighbour_are_being_decoded(
    harness: WorkerHarness,
) -> None:
    """The neighbour's decoders hang; they are killed when the worker stops."""
    harness = harness.replace(decoder=odd_decoder.NAME)
    neighbour = await second_tenant(harness)
    harness.image_host.pages["/slow.png"] = http_response(INIT + b"SLEEPING")
    await queue_slow_jobs(neighbour, "slow.png")
    async with harness.worker() as worker:
        slow = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.image_host.wait_for_request("slow.png", CONCURRENCY)
        job_id = await harness.queue_inpaint()
        quick = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await wait_for_success(harness, job_id)
        assert len(await neighbour.jobs_in_state("running")) == CONCURRENCY
        worker.runner.stop_claiming()
        worker.runner.release_jobs()
        await asyncio.gather(slow, quick)


async def test_a_full_tenant_is_served_again_when_one_of_its_jobs_has_ended(
    harness: WorkerHarness,
) -> None:
    """By the task that claimed its first jobs, without another ring."""
    harness = harness.replace(worker_settings=WorkerSettings(concurrency=2))
    holds = [harness.image_host.hold(f"late{number}.png") for number in range(3)]
    for number in range(3):
        page = f"late{number}.png"
        harness.image_host.pages[f"/{page}"] = harness.image_host.pages["/init.png"]
        await harness.queue_inpaint(inputs=harness.input_images(init=page))
    async with harness.worker() as worker:
        jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.image_host.wait_for_request("late1.png")
        assert "/late2.png" not in harness.image_host.requested
        holds[0].set()
        await harness.image_host.wait_for_request("late2.png")
        for hold in holds[1:]:
            hold.set()
        assert await jobs == 3
    assert len(await harness.jobs_in_state("succeeded")) == 3
