"""Which rings a worker takes, and which it leaves to others."""

import asyncio

import pytest
from redis.asyncio import Redis

from common.messaging.doorbell import Doorbell
from common.settings import RedisSettings
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.worker_harness import QUEUES, WorkerHarness
from tests.integration.worker.lifecycle.test_process import assert_clean_exit, working

# Only a ring makes a worker claim within the test.
SELDOM = {"INFILL_JOB_SWEEP_SECONDS": "3600"}


async def wait_for_listener(redis: Redis, *, yes: bool = True) -> None:
    """Wait until a worker waits for rings, or with `yes=False` until none does."""
    async with asyncio.timeout(60):
        while yes is not any("b" in client["flags"] for client in await redis.client_list()):
            pass  # each query waits for Redis


@pytest.fixture
def doorbell(redis: Redis) -> Doorbell:
    return Doorbell(redis, RedisSettings())


async def test_a_ring_for_any_queue_wakes_a_worker(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis, doorbell: Doorbell
) -> None:
    async with working(environment | SELDOM) as program:
        await wait_for_listener(redis)
        for queue in QUEUES:
            job_id = await harness.queue_inpaint(asked={"model": queue})
            await doorbell.ring_worker(queue)
            line = await program.wait_for_event("job_succeeded")
            assert line["job_id"] == job_id
        program.process.terminate()
        await assert_clean_exit(program, harness)


async def test_a_busy_worker_leaves_rings_to_others(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis, doorbell: Doorbell
) -> None:
    hold = harness.engine_control.hold_next()
    busy = environment | SELDOM | {"INFILL_WORKER_CONCURRENCY": "1"}
    async with working(busy) as first:
        await wait_for_listener(redis)
        await harness.queue_inpaint()
        await doorbell.ring_worker("one")
        begun = await harness.engine_control.generation()
        await wait_for_listener(redis, yes=False)
        await harness.queue_inpaint()
        await doorbell.ring_worker("one")
        assert await redis.llen("one") == 1
        async with running(environment | SELDOM, "worker") as second:
            await second.wait_for_event("job_succeeded")
        assert (await harness.engine_control.generation(2)).process != begun.process
        hold.set()
        await first.wait_for_event("job_succeeded")
        # With its thread free again it takes rings again.
        await wait_for_listener(redis)
        await harness.queue_inpaint()
        await doorbell.ring_worker("one")
        await first.wait_for_event("job_succeeded")
