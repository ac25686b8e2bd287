"""The worker as it is run: `python -m worker`, in a process of its own, and how it ends."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from common.postgres.models import Worker
from tests.integration.dispatcher.program import Program, running
from tests.integration.worker.harness.workshop import PROMPT, WorkerHarness

LONG, SHORT = "600", "0.05"


@asynccontextmanager
async def working(environment: dict[str, str], shutdown: str = LONG) -> AsyncIterator[Program]:
    settings = environment | {"INFILL_WORKER_SHUTDOWN_SECONDS": shutdown}
    async with running(settings, "worker") as program:
        await program.said("worker_ready")
        yield program


async def ended_well(program: Program, workshop: WorkerHarness) -> None:
    """It says so, leaves no entry among the workers, and nothing on its output but log lines."""
    await program.said("worker_stopped")
    assert await program.exit_code() == 0
    assert await workshop.books.rows(Worker) == []


async def was_given_back(workshop: WorkerHarness, redis: Redis, job_id: int) -> None:
    job = await workshop.books.job(job_id)
    assert (job["state"], job["attempt"], job["max_attempts"]) == ("queued", 1, 4)
    assert (job["started_at"], job["error_code"], job["claimed_by"]) == (None, None, None)
    assert await workshop.traces(job_id) == (0, 0)
    assert await redis.llen("one") >= 1  # rung again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_worker_leaves_at_a_signal(
    workshop: WorkerHarness, environment: dict[str, str], number: signal.Signals
) -> None:
    async with working(environment) as program:
        program.process.send_signal(number)
        assert (await program.said("worker_stopping"))["claims"] == 0
        await ended_well(program, workshop)


async def test_a_signal_lets_the_job_under_way_finish(
    workshop: WorkerHarness, environment: dict[str, str]
) -> None:
    hold = workshop.studio.hold_next()
    first = await workshop.queued()
    async with working(environment) as program:
        await workshop.studio.order()
        program.process.terminate()
        await program.said("worker_stopping")
        second = await workshop.queued()
        hold.set()
        await ended_well(program, workshop)
    assert (await workshop.books.job(first))["state"] == "succeeded"
    assert await workshop.traces(first) == (1, 1)
    job = await workshop.books.job(second)
    assert (job["state"], job["attempt"]) == ("queued", 0)

    about = [line for line in program.lines if line["event"].startswith("job_")]
    assert [line["event"] for line in about] == ["job_claimed", "job_succeeded"]
    for line in about:
        assert (line["job_id"], line["attempt"], line["process"]) == (first, 1, "worker")
        assert line["tenant_id"] == workshop.books.tenant_id
    secrets = (PROMPT, "hush", workshop.gallery.url(""), environment["INFILL_S3_SECRET_ACCESS_KEY"])
    for hidden in secrets:
        assert hidden not in json.dumps(program.lines)


async def test_a_job_that_takes_too_long_is_given_back_at_no_cost(
    workshop: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    workshop.studio.hold_next()
    job_id = await workshop.queued(max_attempts=3)
    async with working(environment, SHORT) as program:
        order = await workshop.studio.order()
        program.process.terminate()
        await program.said("job_released")
        await ended_well(program, workshop)
    await workshop.studio.until(lambda: order.stopped)
    await was_given_back(workshop, redis, job_id)
    async with workshop.worker("another") as other:
        await other.runner.run_waiting_jobs("one")
    job = await workshop.books.job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert await workshop.traces(job_id) == (1, 1)


async def test_a_slow_picture_is_not_waited_for(
    workshop: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    workshop.gallery.hold("init.png")
    job_id = await workshop.queued(max_attempts=3)
    async with working(environment, SHORT) as program:
        await workshop.gallery.asked_for("init.png")
        program.process.terminate()
        await ended_well(program, workshop)
    await was_given_back(workshop, redis, job_id)
    assert workshop.studio.orders == []


async def test_a_second_signal_gives_back_at_once(
    workshop: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    workshop.studio.hold_next()
    job_id = await workshop.queued(max_attempts=3)
    async with working(environment, LONG) as program:
        await workshop.studio.order()
        program.process.send_signal(signal.SIGINT)
        await program.said("worker_stopping")
        program.process.send_signal(signal.SIGINT)
        await ended_well(program, workshop)
    await was_given_back(workshop, redis, job_id)


async def test_a_job_survives_its_worker(
    workshop: WorkerHarness, environment: dict[str, str], redis: Redis
) -> None:
    hold = workshop.studio.hold_next()
    job_id = await workshop.queued()
    async with working(environment) as program:
        first = await workshop.studio.order()
        program.process.kill()
        assert await program.exit_code() == -signal.SIGKILL
    assert (await workshop.books.job(job_id))["state"] == "running"
    await workshop.age_lease(job_id)
    await workshop.sweep()
    assert await redis.llen("one") == 1
    async with running(environment, "worker") as program:
        await program.said("job_succeeded")
    second = await workshop.studio.order(2)
    assert first.process != second.process
    hold.set()
    job = await workshop.books.job(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert job["result"]["object_keys"][0].endswith("-2-0.png")
    assert await workshop.traces(job_id) == (1, 1)
