"""Leader election of the sweeper: one process at a time, and always one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prometheus_client import REGISTRY
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.postgres.database import Database
from common.settings import JobSettings, RedisSettings, WebhookSettings
from tests.integration.repositories.support.tenant_rows import QUEUE
from worker.maintenance.sweeper import Sweeper

HOLDER = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class CountingSweeper(Sweeper):
    """A sweeper that counts its sweeps."""

    swept: asyncio.Event
    sweeps = 0

    async def sweep(self, connection: AsyncConnection) -> None:
        await super().sweep(connection)
        self.sweeps += 1
        self.swept.set()

    async def wait_for_sweeps(self, times: int) -> None:
        async with asyncio.timeout(20):
            while self.sweeps < times:
                self.swept.clear()
                await self.swept.wait()


def counting(database: Database, redis: Redis) -> CountingSweeper:
    doorbell = Doorbell(redis, RedisSettings())
    settings = JobSettings(sweep_seconds=0.01)
    made = CountingSweeper(
        database, doorbell, Announcer(redis, doorbell), settings, WebhookSettings(), queues=(QUEUE,)
    )
    made.swept = asyncio.Event()
    return made


@asynccontextmanager
async def running(sweeper: Sweeper) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(sweeper.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def holders(database: Database) -> list[int]:
    async with database.statement() as connection:
        return list((await connection.execute(text(HOLDER))).scalars())


async def test_one_process_leads_and_the_other_takes_over(database: Database, redis: Redis) -> None:
    first, second = counting(database, redis), counting(database, redis)
    async with AsyncExitStack() as longer:
        async with running(first):
            await first.wait_for_sweeps(1)
            await longer.enter_async_context(running(second))
            await first.wait_for_sweeps(first.sweeps + 5)
            assert second.sweeps == 0
            assert len(await holders(database)) == 1
        await second.wait_for_sweeps(1)
    assert await holders(database) == []


async def test_a_lost_connection_loses_the_lock_and_a_new_one_gets_it_back(
    database: Database, redis: Redis
) -> None:
    sweeper = counting(database, redis)
    async with running(sweeper):
        await sweeper.wait_for_sweeps(1)
        (before,) = await holders(database)
        async with database.statement() as connection:
            await connection.execute(text(f"SELECT pg_terminate_backend({before})"))
        await sweeper.wait_for_sweeps(sweeper.sweeps + 3)
        assert [before] != await holders(database)


async def test_a_former_leader_shows_no_job_counts(database: Database, redis: Redis) -> None:
    sweeper = counting(database, redis)
    async with running(sweeper):
        await sweeper.wait_for_sweeps(1)
        assert REGISTRY.get_sample_value("infill_jobs", {"queue": QUEUE, "state": "queued"}) == 0
    assert REGISTRY.get_sample_value("infill_jobs", {"queue": QUEUE, "state": "queued"}) is None
