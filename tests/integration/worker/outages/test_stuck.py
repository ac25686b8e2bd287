"""An engine that does not heed: the books are settled, and the process ends to be started anew."""

import asyncio
import os
import signal

from common.settings import StorageSettings
from tests.integration.worker.harness.engine import WAITS, WEDGE
from tests.integration.worker.harness.studio import Answer
from tests.integration.worker.harness.workshop import WorkerHarness
from tests.integration.worker.jobs.test_limits import silent_store
from tests.integration.worker.lifecycle.test_process import LONG, SHORT, working

SOON = {"INFILL_WORKER_STUCK_SECONDS": "0.2"}


async def given_back(workshop: WorkerHarness, job_id: int) -> None:
    job = await workshop.books.job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)
    assert await workshop.traces(job_id) == (0, 0)


async def until_held(workshop: WorkerHarness, number: int) -> None:
    async with asyncio.timeout(30):
        while len(await workshop.in_state("running")) < number:
            pass  # each look waits for Postgres


async def test_past_its_time_the_job_has_failed_and_the_others_are_given_back(
    workshop: WorkerHarness, environment: dict[str, str]
) -> None:
    workshop.studio.hold_next()
    wedged = await workshop.drawing(prompt=WEDGE)
    waiting = await workshop.drawing(prompt=WAITS)
    limits = {"INFILL_JOB_MAX_RUN_SECONDS": "2"}
    async with working(environment | SOON | limits, LONG) as program:
        await workshop.studio.order()
        await until_held(workshop, 2)
        await program.said("engine_stuck")
        unclaimed = await workshop.drawing()
        await program.said("worker_stopped")
        assert await program.exit_code() == os.EX_SOFTWARE
    job = await workshop.books.job(wedged)
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["error_code"] == "run_time_exceeded"
    assert await workshop.traces(wedged) == (1, 0)
    await given_back(workshop, waiting)
    row = await workshop.books.job(unclaimed)
    assert (row["state"], row["attempt"]) == ("queued", 0)
    assert len(workshop.studio.orders) == 1


async def test_a_device_that_is_lost_takes_its_worker_along(
    workshop: WorkerHarness, environment: dict[str, str]
) -> None:
    hold = asyncio.Event()
    workshop.studio.answers.append(Answer("break", hold=hold))
    breaking = await workshop.drawing()
    async with working(environment, LONG) as program:
        await workshop.studio.order()
        waiting = await workshop.drawing(prompt=WAITS)
        await until_held(workshop, 2)
        hold.set()
        await program.said_each("engine_lost", "worker_stopped")
        assert await program.exit_code() == os.EX_SOFTWARE
    job = await workshop.books.job(breaking)
    assert (job["state"], job["attempt"], job["error_code"]) == ("queued", 1, "engine_lost")
    await given_back(workshop, waiting)


async def test_told_to_leave_the_worker_does_not_wait_for_it(
    workshop: WorkerHarness, environment: dict[str, str]
) -> None:
    workshop.studio.hold_next()
    jobs = [await workshop.drawing(prompt=WEDGE), await workshop.drawing(prompt=WAITS)]
    async with working(environment | SOON, SHORT) as program:
        await workshop.studio.order()
        await until_held(workshop, 2)
        program.process.send_signal(signal.SIGTERM)
        await program.said("worker_stopped")
        assert await program.exit_code() == os.EX_SOFTWARE
    for job_id in jobs:
        await given_back(workshop, job_id)


async def test_an_upload_that_hangs_keeps_no_worker_from_leaving(
    workshop: WorkerHarness, environment: dict[str, str], bucket: StorageSettings
) -> None:
    async with silent_store(bucket) as store:
        there = {"INFILL_S3_ENDPOINT_URL": store.address}
        job_id = await workshop.drawing()
        async with working(environment | SOON | there, SHORT) as program:
            await store.asked.wait()
            program.process.send_signal(signal.SIGTERM)
            await program.said_each("threads_abandoned", "worker_stopped")
            assert await program.exit_code() == os.EX_OK
    await given_back(workshop, job_id)
