"""Claimers in processes of their own, and the jobs that they claimed."""

import asyncio
from array import array
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from pydantic import SecretStr

from common.postgres.database import Database
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.runtime.clock import monotonic
from common.settings import DatabaseSettings
from tests.bench.data.waiting_jobs import QUEUE
from tests.bench.sizes import SharingSizes

WARM_UP: Final = 10  # claims per connection: Postgres settles on a plan at the sixth
MILLISECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Claims:
    """Jobs claimed in order, and the milliseconds of each claim.

    `claimed` holds, for each job, the moments its claim returned and began, and its tenant.
    """

    claimed: list[tuple[float, float, int]]
    times: list[float]


@dataclass(frozen=True, slots=True)
class _Notes:
    """The same while it is recorded: arrays of numbers, which the garbage collector skips."""

    ended: "array[float]" = field(default_factory=lambda: array("d"))
    begun: "array[float]" = field(default_factory=lambda: array("d"))
    tenants: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def claims(self) -> Claims:
        claimed = zip(self.ended, self.begun, self.tenants, strict=True)
        return Claims(list(claimed), list(self.times))


def _claim(url: str, claimers: int, claims: int, at_once: int) -> Claims:
    """Let each of this process's claimers make `claims` claims."""
    return asyncio.run(_claimers(url, claimers, claims, at_once))


async def _claimers(url: str, claimers: int, claims: int, at_once: int) -> Claims:
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    notes = _Notes()
    try:
        await asyncio.gather(*(_claimer(database, notes, claims, at_once) for _ in range(claimers)))
    finally:
        await database.aclose()
    return notes.claims()


async def _claimer(database: Database, notes: _Notes, claims: int, at_once: int) -> None:
    async with database.direct() as connection:
        for number in range(WARM_UP + claims):
            begun = monotonic()
            claimed = await claim_jobs(
                connection, queues=[QUEUE], worker="bench", lease_seconds=3600, limit=at_once
            )
            ended = monotonic()
            for job in (one.record for one in claimed.jobs):
                notes.ended.append(ended)
                notes.begun.append(begun)
                notes.tenants.append(job.tenant_id)
            if number >= WARM_UP:
                notes.times.append((ended - begun) * MILLISECONDS)


async def claim_together(
    executor: Executor, url: str, load: SharingSizes, *, claims: int, at_once: int
) -> Claims:
    """Let all claimers claim at the same time; return what they claimed in order of time."""
    work = partial(_claim, url, load.claimers, claims, at_once)
    loop = asyncio.get_running_loop()
    parts = await asyncio.gather(
        *(loop.run_in_executor(executor, work) for _ in range(load.processes))
    )
    return Claims(
        sorted(one for part in parts for one in part.claimed),
        [time for part in parts for time in part.times],
    )
