"""A canceled job stops at its next step, and costs its neighbours nothing."""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis

from common.messaging.announcer import Announcer
from common.messaging.cancellation import CHANNEL, announce_canceled
from common.messaging.doorbell import Doorbell
from common.postgres.repositories.jobs.finish import cancel
from common.settings import JobSettings, RedisSettings, Settings
from deploy.local.processes.readiness import until_ready
from tests.integration.worker.harness.workshop import WorkerHarness
from tests.integration.worker.lifecycle.test_runtime import running, settings

__all__ = ["settings"]  # a fixture made elsewhere

# Nothing is learnt from a heartbeat within the test.
SELDOM = JobSettings(sweep_seconds=0.05, heartbeat_seconds=1800, lease_seconds=7200)


async def listening(redis: Redis) -> None:
    async def known() -> bool:
        return (await redis.pubsub_numsub(CHANNEL))[0][1] > 0

    await until_ready(known, "the subscription", 20)


async def test_one_of_two_is_canceled_and_the_other_is_drawn(
    settings: Settings, workshop: WorkerHarness, redis: Redis
) -> None:
    settings.jobs = SELDOM
    holds = [workshop.studio.hold_next() for _ in range(2)]
    async with running(settings, workshop):
        await listening(redis)
        jobs = [await workshop.drawing(prompt="first")]
        first = await workshop.studio.order()
        jobs.append(await workshop.drawing(prompt="second"))
        second = await workshop.studio.order(2)
        async with workshop.database.statement() as connection:
            ended = await cancel(connection, tenant_id=workshop.books.tenant_id, job_id=jobs[0])
        assert ended is not None
        await Announcer(redis, Doorbell(redis, RedisSettings())).announce_canceled(ended)
        await workshop.studio.until(lambda: first.stopped)
        assert not second.ended
        holds[1].set()
        await workshop.studio.until(lambda: second.ended)
    rows = [await workshop.books.job(job_id) for job_id in jobs]
    assert [row["state"] for row in rows] == ["canceled", "succeeded"]
    assert [await workshop.traces(job_id) for job_id in jobs] == [(1, 0), (1, 1)]
    assert not second.stopped


async def test_a_cancel_that_nobody_announced_is_learnt_of_when_redis_is_back(
    settings: Settings, workshop: WorkerHarness, redis: Redis
) -> None:
    settings.jobs = SELDOM
    workshop.studio.hold_next()
    async with running(settings, workshop):
        await listening(redis)
        job_id = await workshop.drawing()
        order = await workshop.studio.order()
        async with workshop.database.statement() as connection:
            await cancel(connection, tenant_id=workshop.books.tenant_id, job_id=job_id)
        await redis.client_kill_filter(_type="pubsub")
        await workshop.studio.until(lambda: order.stopped)


async def test_a_signal_is_no_fact(workshop: WorkerHarness) -> None:
    """A job that was not canceled after all goes on, whoever says so."""
    hold = workshop.studio.hold_next()
    job_id = await workshop.drawing()
    async with workshop.having(jobs=SELDOM).worker() as worker:
        looking = asyncio.create_task(worker.runner.run_waiting_jobs("one"))
        await workshop.studio.order()
        beating = asyncio.create_task(worker.heartbeat.run())
        soon = (await workshop.books.job(job_id))["lease_expires_at"]
        worker.heartbeat.on_job_canceled((await workshop.books.job(job_id))["file_prefix"])
        async with asyncio.timeout(20):
            while (await workshop.books.job(job_id))["lease_expires_at"] == soon:
                pass  # each look waits for Postgres
        hold.set()
        await looking
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
    assert (await workshop.books.job(job_id))["state"] == "succeeded"


async def test_what_is_no_signal_ends_no_listening(
    settings: Settings, workshop: WorkerHarness, redis: Redis
) -> None:
    settings.jobs = SELDOM
    workshop.studio.hold_next()
    async with running(settings, workshop):
        await listening(redis)
        job_id = await workshop.drawing()
        order = await workshop.studio.order()
        await redis.publish(CHANNEL, b"hello")
        async with workshop.database.statement() as connection:
            ended = await cancel(connection, tenant_id=workshop.books.tenant_id, job_id=job_id)
        assert ended is not None
        await announce_canceled(redis, ended.file_prefix)
        await workshop.studio.until(lambda: order.stopped)
