"""A canceled job stops at its next step; other jobs of the worker go on."""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis

from common.messaging.announcer import Announcer
from common.messaging.cancellation import CHANNEL, announce_canceled
from common.messaging.doorbell import Doorbell
from common.postgres.repositories.jobs.finish import cancel
from common.settings import JobSettings, RedisSettings, Settings
from deploy.local.processes.readiness import wait_until_ready
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_runtime import running, settings

__all__ = ["settings"]  # a fixture from another module

# No heartbeat happens within the test, unless a signal causes it.
SELDOM = JobSettings(sweep_seconds=0.05, heartbeat_seconds=1800, lease_seconds=7200)


async def listening(redis: Redis) -> None:
    async def known() -> bool:
        return (await redis.pubsub_numsub(CHANNEL))[0][1] > 0

    await wait_until_ready(known, "the subscription", 20)


async def test_canceling_one_of_two_jobs_does_not_stop_the_other(
    settings: Settings, harness: WorkerHarness, redis: Redis
) -> None:
    settings.jobs = SELDOM
    holds = [harness.engine_control.hold_next() for _ in range(2)]
    async with running(settings, harness):
        await listening(redis)
        jobs = [await harness.queue_text2img(prompt="first")]
        first = await harness.engine_control.generation()
        jobs.append(await harness.queue_text2img(prompt="second"))
        second = await harness.engine_control.generation(2)
        async with harness.database.statement() as connection:
            ended = await cancel(connection, tenant_id=harness.tenant.tenant_id, job_id=jobs[0])
        assert ended is not None
        await Announcer(redis, Doorbell(redis, RedisSettings())).announce_canceled(ended)
        await harness.engine_control.wait_until(lambda: first.stopped)
        assert not second.ended
        holds[1].set()
        await harness.engine_control.wait_until(lambda: second.ended)
    rows = [await harness.tenant.read_job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["canceled", "succeeded"]
    assert [await harness.count_records(job_id) for job_id in jobs] == [(1, 0), (1, 1)]
    assert not second.stopped


async def test_a_missed_cancellation_signal_is_noticed_when_redis_is_available_again(
    settings: Settings, harness: WorkerHarness, redis: Redis
) -> None:
    settings.jobs = SELDOM
    harness.engine_control.hold_next()
    async with running(settings, harness):
        await listening(redis)
        job_id = await harness.queue_text2img()
        order = await harness.engine_control.generation()
        async with harness.database.statement() as connection:
            await cancel(connection, tenant_id=harness.tenant.tenant_id, job_id=job_id)
        await redis.client_kill_filter(_type="pubsub")
        await harness.engine_control.wait_until(lambda: order.stopped)


async def test_a_cancellation_signal_for_a_running_job_changes_nothing(
    harness: WorkerHarness,
) -> None:
    """The signal only makes the worker check its claims; the job goes on."""
    hold = harness.engine_control.hold_next()
    job_id = await harness.queue_text2img()
    async with harness.replace(jobs=SELDOM).worker() as worker:
        running_jobs = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await harness.engine_control.generation()
        beating = asyncio.create_task(worker.heartbeat.run())
        soon = (await harness.tenant.read_job(job_id))["lease_expires_at"]
        worker.heartbeat.on_job_canceled((await harness.tenant.read_job(job_id))["file_prefix"])
        async with asyncio.timeout(20):
            while (await harness.tenant.read_job(job_id))["lease_expires_at"] == soon:
                pass  # each query waits for Postgres
        hold.set()
        await running_jobs
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
    assert (await harness.tenant.read_job(job_id))["state"] == "succeeded"


async def test_an_invalid_signal_does_not_end_the_listener(
    settings: Settings, harness: WorkerHarness, redis: Redis
) -> None:
    settings.jobs = SELDOM
    harness.engine_control.hold_next()
    async with running(settings, harness):
        await listening(redis)
        job_id = await harness.queue_text2img()
        order = await harness.engine_control.generation()
        await redis.publish(CHANNEL, b"hello")
        async with harness.database.statement() as connection:
            ended = await cancel(connection, tenant_id=harness.tenant.tenant_id, job_id=job_id)
        assert ended is not None
        await announce_canceled(redis, ended.file_prefix)
        await harness.engine_control.wait_until(lambda: order.stopped)
