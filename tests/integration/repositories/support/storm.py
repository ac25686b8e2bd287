"""A program that claims jobs and ends them, one way or another, until it is killed."""

import asyncio
import random
import sys

from pydantic import SecretStr

from common.domain.job import Claim
from common.domain.record import JobResult
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import fail, succeed
from common.postgres.repositories.jobs.leases import release_claim, retry_later
from common.settings import DatabaseSettings
from tests.integration.repositories.support.tenant_rows import QUEUE

CLAIMERS = 3


async def storm(url: str) -> None:
    database = Database(DatabaseSettings(url=SecretStr(url)), application="storming")
    await asyncio.gather(*(_claim_and_end(database) for _ in range(CLAIMERS)))


async def _claim_and_end(database: Database) -> None:
    while True:
        async with database.direct() as connection:
            claimed = await claim_jobs(
                connection, queues=[QUEUE], worker="w", lease_seconds=60, limit=2
            )
        for job in (one.record for one in claimed.jobs):
            print(job.id, flush=True)  # noqa: T201 - the test counts the lines
            await _end(database, job.claim)


async def _end(database: Database, claim: Claim) -> None:
    async with database.direct() as connection:
        match random.randrange(4):
            case 0:
                await succeed(connection, claim, JobResult(("a",), (False,), 1.0, {}, 1.0))
            case 1:
                await fail(connection, claim, code="x", message="x")
            case 2:
                await retry_later(connection, claim, seconds=0.0, code="x", message="x")
            case _:
                await release_claim(connection, claim)


if __name__ == "__main__":
    asyncio.run(storm(sys.argv[1]))
