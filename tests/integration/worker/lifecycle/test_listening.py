"""How a worker hears rings: which ones it takes, and which it leaves to others."""

import asyncio

import pytest
from redis.asyncio import Redis

from common.messaging.doorbell import Doorbell
from common.settings import RedisSettings
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.worker_harness import QUEUES, WorkerHarness
from tests.integration.worker.lifecycle.test_process import ended_well, working

# Only a ring makes a worker look within the test.
SELDOM = {"INFILL_JOB_SWEEP_SECONDS": "3600"}


async def until_listening(redis: Redis, *, yes: bool = True) -> None:
    """Wait until some worker waits for rings, or none does any more."""
    async with asyncio.timeout(60):
        while yes is not any("b" in client["flags"] for client in await redis.client_list()):
            pass  # each look waits for Redis


@pytest.fixture
def doorbell(redis: Redis) -> Doorbell:
    return Doorbell(redis, RedisSettings())


async def test_a_ring_for_any_queue_wakes_a_worker(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis, doorbell: Doorbell
) -> None:
    async with working(environment | SELDOM) as program:
        await until_listening(redis)
        for queue in QUEUES:
            job_id = await harness.queue_inpaint(asked={"model": queue})
            await doorbell.ring_worker(queue)
            said = await program.wait_for_event("job_succeeded")
            assert said["job_id"] == job_id
        program.process.terminate()
        await ended_well(program, harness)


async def test_rings_a_busy_worker_cannot_hear_are_left_to_others(
    harness: WorkerHarness, environment: dict[str, str], redis: Redis, doorbell: Doorbell
) -> None:
    hold = harness.engine_control.hold_next()
    busy = environment | SELDOM | {"INFILL_WORKER_CONCURRENCY": "1"}
    async with working(busy) as first:
        await until_listening(redis)
        await harness.queue_inpaint()
        await doorbell.ring_worker("one")
        begun = await harness.engine_control.generation()
        await until_listening(redis, yes=False)
        await harness.queue_inpaint()
        await doorbell.ring_worker("one")
        assert await redis.llen("one") == 1
        async with running(environment | SELDOM, "worker") as second:
            await second.wait_for_event("job_succeeded")
        assert (await harness.engine_control.generation(2)).process != begun.process
        hold.set()
        await first.wait_for_event("job_succeeded")
        # With its thread free again it hears again.
        await until_listening(redis)
        await harness.queue_inpaint()
        await doorbell.ring_worker("one")
        await first.wait_for_event("job_succeeded")
