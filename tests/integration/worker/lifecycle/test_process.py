"""`python -m worker` in a process of its own, and how it ends."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from common.postgres.models import Worker
from tests.integration.dispatcher.program import Program, running
from tests.integration.worker.harness.worker_harness import PROMPT, WorkerHarness

LONG, SHORT = "600", "0.05"


@asynccontextmanager
async def working(environment: dict[str, str], shutdown: str = LONG) -> AsyncIterator[Program]:
    settings = environment | {"INFILL_WORKER_SHUTDOWN_SECONDS": shutdown}
    async with running(settings, "worker") as program:
        await program.wait_for_event("worker_ready")
        yield program


async def assert_clean_exit(program: Program, harness: WorkerHarness) -> None:
    """It logs its end, removes its entry among the workers and exits with 0."""
    await program.wait_for_event("worker_stopped")
    assert await program.exit_code() == 0
    assert await harness.tenant.read_rows(Worker) == []


async def assert_released(harness: WorkerHarness, redis: Redis, job_id: int) -> None:
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)
    assert (job["started_at"], job["error_code"], job["claimed_by"]) == (None, None, None)
    assert await harness.count_records(job_id) == (0, 0)
    assert await redis.llen("one") >= 1  # rung again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_worker_shuts_down_at_a_signal(
    harness: WorkerHarness, environment: dict[str, str], number: signal.Signals
) -> None:
    async with working(environment) as program:
        program.process.send_signal(number)
        assert (await program.wait_for_event("worker_stopping"))["claims"] == 0
        await assert_clean_exit(program, harness)


async def test_a_signal_lets_the_running_job_finish(
    harness: WorkerHarness, environment: dict[str, str]
) -> None:
    hold = harness.engine_control.hold_next()
    first = await harness.queue_inpaint()
    async with working(environment) as program:
        await harness.engine_control.generation()
        program.process.terminate()
        await program.wait_for_event("worker_stopping")
        second = await harness.queue_inpaint()
        hold.set()
        await assert_clean_exit(program, harness)
    assert (await harness.tenant.read_job(first))["state"] == "succeeded"
    assert await harness.count_records(first) == (1, 1)
    job = await harness.tenant.read_job(second)
    assert (job["state"], job["attempt"]) == ("queued", 0)

    about = [line for line in program.lines if line["event"].startswith("job_")]
    assert [line["event"] for line in about] == ["job_claimed", "job_succeeded"]
    for line in about:
        assert (line["job_id"], line["attempt"], line["process"]) == (first, 1, "worker")
        assert line["tenant_id"] == harness.tenant.tenant_id
    secrets = (
        PROMPT,
        "hush",
        harness.image_host.url(""),
        environment["INFILL_S3_SECRET_ACCESS_KEY"],
    )
    for hidden in secrets:
        assert hidden not in json.dumps(program.lines)


async def test_a_job_that_outlasts_the_shutdown_is_released_without_counting_an_attempt(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint(max_attempts=3)
    async with working(environment, SHORT) as program:
        order = await harness.engine_control.generation()
        program.process.terminate()
        await program.wait_for_event("job_released")
        await assert_clean_exit(program, harness)
    await harness.engine_control.wait_until(lambda: order.stopped)
    await assert_released(harness, redis, job_id)
    async with harness.worker("another") as other:
        await other.runner.run_waiting_jobs("one")
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert await harness.count_records(job_id) == (1, 1)


async def test_a_slow_fetch_does_not_delay_the_shutdown(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    harness.image_host.hold("init.png")
    job_id = await harness.queue_inpaint(max_attempts=3)
    async with working(environment, SHORT) as program:
        await harness.image_host.wait_for_request("init.png")
        program.process.terminate()
        await assert_clean_exit(program, harness)
    await assert_released(harness, redis, job_id)
    assert harness.engine_control.generations == []


async def test_a_second_signal_releases_jobs_at_once(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint(max_attempts=3)
    async with working(environment, LONG) as program:
        await harness.engine_control.generation()
        program.process.send_signal(signal.SIGINT)
        await program.wait_for_event("worker_stopping")
        program.process.send_signal(signal.SIGINT)
        await assert_clean_exit(program, harness)
    await assert_released(harness, redis, job_id)


async def test_a_job_survives_its_worker(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    hold = harness.engine_control.hold_next()
    job_id = await harness.queue_inpaint()
    async with working(environment) as program:
        first = await harness.engine_control.generation()
        program.process.kill()
        assert await program.exit_code() == -signal.SIGKILL
    assert (await harness.tenant.read_job(job_id))["state"] == "running"
    await harness.age_lease(job_id)
    await harness.sweep()
    assert await redis.llen("one") == 1
    async with running(environment, "worker") as program:
        await program.wait_for_event("job_succeeded")
    second = await harness.engine_control.generation(2)
    assert first.process != second.process
    hold.set()
    job = await harness.tenant.read_job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert job["result"]["object_keys"][0].endswith("-2-0.png")
    assert await harness.count_records(job_id) == (1, 1)
