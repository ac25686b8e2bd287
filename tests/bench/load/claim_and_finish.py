"""Claimers without an engine: each claims a job, finishes it, and claims the next."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from common.domain.record import JobRecord, JobResult
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import succeed
from common.runtime.clock import monotonic
from common.settings import DatabaseSettings
from tests.bench.data.ended_jobs import QUEUE

WARM_UP: Final = 10  # per connection: Postgres settles on a plan at the sixth
LEASE_SECONDS: Final = 60.0
MILLISECONDS: Final = 1000


@dataclass(slots=True)
class Times:
    """Milliseconds of each claim and each finish, from the call to its return."""

    claims: list[float] = field(default_factory=list)
    finishes: list[float] = field(default_factory=list)


def claim_and_finish(url: str, claimers: int, jobs: int) -> Times:
    """Let each of `claimers` claim and finish `jobs`; called in a process of its own."""
    return asyncio.run(_claim_and_finish(url, claimers, jobs))


async def _claim_and_finish(url: str, claimers: int, jobs: int) -> Times:
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    times = Times()
    try:
        await asyncio.gather(*(_claimer(database, times, jobs) for _ in range(claimers)))
    finally:
        await database.aclose()
    return times


async def _claimer(database: Database, times: Times, jobs: int) -> None:
    async with database.direct() as connection:
        for number in range(WARM_UP + jobs):
            begun = monotonic()
            claimed = await claim_jobs(
                connection, queues=[QUEUE], worker="bench", lease_seconds=LEASE_SECONDS, limit=1
            )
            taken = monotonic()
            assert claimed, "the backlog was too small"
            (job,) = (job.record for job in claimed.jobs)
            finishing = monotonic()
            await succeed(connection, job.claim, _result(job))
            if number >= WARM_UP:
                times.claims.append((taken - begun) * MILLISECONDS)
                times.finishes.append((monotonic() - finishing) * MILLISECONDS)


def _result(job: JobRecord) -> JobResult:
    key = f"{job.tenant_id}/generations/{job.file_prefix}-{job.attempt}-0.png"
    stages = ("claimed", "fetched", "generation_started", "generated", "uploaded")
    timeline = {stage: job.created_at.timestamp() + second for second, stage in enumerate(stages)}
    return JobResult((key,), (False,), 1.91, timeline, 1.91)
