"""Leader election of retention: one process at a time, through outages too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from common.object_store.storage import Storage
from common.postgres.database import Database
from common.settings import DatabaseSettings, RetentionSettings
from deploy.local.servers.ports import free_port
from tests.integration.maintenance.stored_objects import StoredJobs
from tests.integration.maintenance.test_sweeper_election import holders
from worker.maintenance.retention import Retention


class CountingRetention(Retention):
    """Retention that counts its rounds."""

    rounds = 0

    def __init__(self, database: Database, storage: Storage) -> None:
        super().__init__(database, storage, RetentionSettings(interval_seconds=0.01))
        self.went = asyncio.Event()

    async def run_round(self, connection: AsyncConnection, stopping: asyncio.Event) -> None:
        await super().run_round(connection, stopping)
        self.rounds += 1
        self.went.set()

    async def wait_for_rounds(self, times: int) -> None:
        async with asyncio.timeout(20):
            while self.rounds < times:
                self.went.clear()
                await self.went.wait()


@asynccontextmanager
async def running(retention: Retention) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(retention.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def test_one_process_leads_and_the_other_takes_over(stored_jobs: StoredJobs) -> None:
    first, second = (CountingRetention(stored_jobs.database, stored_jobs.storage) for _ in range(2))
    async with AsyncExitStack() as longer:
        async with running(first):
            await first.wait_for_rounds(1)
            await longer.enter_async_context(running(second))
            await first.wait_for_rounds(first.rounds + 5)
            assert second.rounds == 0
            assert len(await holders(stored_jobs.database)) == 1
        await second.wait_for_rounds(1)
    assert await holders(stored_jobs.database) == []


async def test_a_lost_connection_loses_the_lock_and_a_new_one_gets_it_back(
    stored_jobs: StoredJobs,
) -> None:
    retention = CountingRetention(stored_jobs.database, stored_jobs.storage)
    async with running(retention):
        await retention.wait_for_rounds(1)
        (before,) = await holders(stored_jobs.database)
        async with stored_jobs.database.statement() as connection:
            await connection.execute(text(f"SELECT pg_terminate_backend({before})"))
        await retention.wait_for_rounds(retention.rounds + 3)
        assert [before] != await holders(stored_jobs.database)


async def test_an_outage_of_postgres_is_logged_once_and_survived(stored_jobs: StoredJobs) -> None:
    nowhere = f"postgresql://infill@127.0.0.1:{free_port()}/infill"
    unavailable = Database(DatabaseSettings(url=SecretStr(nowhere)), application="tests")
    retention = CountingRetention(unavailable, stored_jobs.storage)
    with capture_logs() as lines:
        async with running(retention):
            async with asyncio.timeout(20):
                while retention._postgres.is_available:
                    await stored_jobs.job_ids()  # each query waits for the available Postgres
            retention._database = stored_jobs.database  # Postgres is back
            await retention.wait_for_rounds(2)
    await unavailable.aclose()
    assert [line["event"] for line in lines] == [
        "dependency_unavailable",
        "dependency_available",
        "leadership_gained",
        "leadership_lost",
    ]
