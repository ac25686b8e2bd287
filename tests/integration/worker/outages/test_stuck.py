"""An engine that does not stop: its jobs are failed or released, and the process ends."""

import asyncio
import os
import signal

from common.settings import StorageSettings
from tests.integration.worker.harness.engine import HANGS_IN_DRIVER, WAITS_FOR_ENGINE
from tests.integration.worker.harness.engine_control import EngineResponse
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.jobs.test_limits import silent_store
from tests.integration.worker.lifecycle.test_process import LONG, SHORT, working

SOON = {"INFILL_WORKER_STUCK_SECONDS": "0.2"}


async def assert_released(harness: WorkerHarness, job_id: int) -> None:
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)
    assert await harness.count_records(job_id) == (0, 0)


async def wait_for_running(harness: WorkerHarness, number: int) -> None:
    async with asyncio.timeout(30):
        while len(await harness.jobs_in_state("running")) < number:
            pass  # each query waits for Postgres


async def test_a_stuck_engine_fails_the_overdue_job_and_releases_the_others(
    harness: WorkerHarness, environment: dict[str, str]
) -> None:
    harness.engine_control.hold_next()
    wedged = await harness.queue_text2img(prompt=HANGS_IN_DRIVER)
    waiting = await harness.queue_text2img(prompt=WAITS_FOR_ENGINE)
    limits = {"INFILL_JOB_MAX_RUN_SECONDS": "2"}
    async with working(environment | SOON | limits, LONG) as program:
        await harness.engine_control.generation()
        await wait_for_running(harness, 2)
        await program.wait_for_event("engine_stuck")
        unclaimed = await harness.queue_text2img()
        await program.wait_for_event("worker_stopped")
        assert await program.exit_code() == os.EX_SOFTWARE
    job = await harness.tenant.read_job(wedged)
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["error_code"] == "run_time_exceeded"
    assert await harness.count_records(wedged) == (1, 0)
    await assert_released(harness, waiting)
    row = await harness.tenant.read_job(unclaimed)
    assert (row["state"], row["attempt"]) == ("queued", 0)
    assert len(harness.engine_control.generations) == 1


async def test_a_lost_device_ends_its_worker(
    harness: WorkerHarness, environment: dict[str, str]
) -> None:
    hold = asyncio.Event()
    harness.engine_control.responses.append(EngineResponse("break", hold=hold))
    breaking = await harness.queue_text2img()
    async with working(environment, LONG) as program:
        await harness.engine_control.generation()
        waiting = await harness.queue_text2img(prompt=WAITS_FOR_ENGINE)
        await wait_for_running(harness, 2)
        hold.set()
        await program.wait_for_events("engine_lost", "worker_stopped")
        assert await program.exit_code() == os.EX_SOFTWARE
    job = await harness.tenant.read_job(breaking)
    assert (job["state"], job["attempt"], job["error_code"]) == ("queued", 1, "engine_lost")
    await assert_released(harness, waiting)


async def test_shutdown_does_not_wait_for_a_stuck_engine(
    harness: WorkerHarness, environment: dict[str, str]
) -> None:
    harness.engine_control.hold_next()
    jobs = [
        await harness.queue_text2img(prompt=HANGS_IN_DRIVER),
        await harness.queue_text2img(prompt=WAITS_FOR_ENGINE),
    ]
    async with working(environment | SOON, SHORT) as program:
        await harness.engine_control.generation()
        await wait_for_running(harness, 2)
        program.process.send_signal(signal.SIGTERM)
        await program.wait_for_event("worker_stopped")
        assert await program.exit_code() == os.EX_SOFTWARE
    for job_id in jobs:
        await assert_released(harness, job_id)


async def test_an_upload_that_hangs_does_not_prevent_the_shutdown(
    harness: WorkerHarness, environment: dict[str, str], bucket: StorageSettings
) -> None:
    async with silent_store(bucket) as store:
        there = {"INFILL_S3_ENDPOINT_URL": store.address}
        job_id = await harness.queue_text2img()
        async with working(environment | SOON | there, SHORT) as program:
            await store.asked.wait()
            program.process.send_signal(signal.SIGTERM)
            await program.wait_for_events("threads_abandoned", "worker_stopped")
            assert await program.exit_code() == os.EX_OK
    await assert_released(harness, job_id)
