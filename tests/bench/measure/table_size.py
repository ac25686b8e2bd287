"""Whether claim, fetch and finish stay as fast when millions of jobs lie in the tables."""

import asyncio
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from statistics import median
from typing import Final

import asyncpg
from pydantic import SecretStr

from common.postgres.database import Database
from common.runtime.clock import monotonic
from common.settings import DatabaseSettings
from tests.bench.data.ended_jobs import fill
from tests.bench.figures import Figure, percentile
from tests.bench.load.background import Alongside
from tests.bench.load.claim_and_finish import claim_and_finish
from tests.bench.rig.stack import Rig

FEW: Final = 10_000
MANY: Final = 2_000_000
WAITING: Final = 20_000
CLAIMERS: Final = 8
# One process's Python would be the slowest part: half of the claimers run in each of two.
PROCESSES: Final = 2
ROUNDS: Final = 7
JOBS: Final = 250  # per claimer and round
CLAIM_TARGET_MILLISECONDS: Final = 25
FLAT: Final = 1.5
SIZES: Final = """
SELECT pg_size_pretty(pg_table_size('jobs')), pg_size_pretty(pg_indexes_size('jobs')),
    pg_size_pretty(pg_relation_size('ix_jobs_queued')),
    pg_size_pretty(pg_database_size(current_database()))
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A database of its own with so many ended jobs, and what was measured on it."""

    url: str
    alongside: Alongside
    fill_seconds: float
    claims: list[list[float]] = field(default_factory=list)
    finishes: list[list[float]] = field(default_factory=list)
    fetches: list[list[float]] = field(default_factory=list)

    async def round(self, processes: Executor, jobs: int) -> None:
        """Let the claimers do so many jobs each, beside all else that goes on."""
        work = partial(claim_and_finish, self.url, CLAIMERS // PROCESSES, jobs)
        loop = asyncio.get_running_loop()
        async with self.alongside.running() as fetches:
            times = await asyncio.gather(
                *(loop.run_in_executor(processes, work) for _ in range(PROCESSES))
            )
        self.claims.append([claim for part in times for claim in part.claims])
        self.finishes.append([finish for part in times for finish in part.finishes])
        self.fetches.append(fetches)

    async def sizes(self) -> str:
        """Say how large its tables and indexes are."""
        connection = await asyncpg.connect(self.url)
        try:
            jobs, indexes, queued, everything = await connection.fetchrow(SIZES)
        finally:
            await connection.close()
        return (
            f"jobs {jobs} with {indexes} of indexes (of the waiting {queued}), "
            f"all tables {everything}, filled in {self.fill_seconds:.0f} s"
        )


async def measure_scale(rig: Rig) -> list[Figure]:
    """Fill one database with few and one with many ended jobs, and compare them round by round.

    They take turns, so that a neighbour's noise falls on both.
    """
    few, many = await _filled(rig, "few", FEW), await _filled(rig, "many", MANY)
    sizes = await many.sizes()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        for number in range(ROUNDS + 1):
            for filled in (few, many):
                await filled.round(processes, JOBS)
                if not number:  # the first round warms both up
                    filled.claims.clear()
                    filled.finishes.clear()
                    filled.fetches.clear()
    for filled in (few, many):
        await filled.alongside.database.aclose()
    return [
        _slowest("claim", few.claims, many.claims, sizes),
        _ratio("claim", few.claims, many.claims),
        _ratio("finish", few.finishes, many.finishes),
        _ratio("fetch", few.fetches, many.fetches),
    ]


async def _filled(rig: Rig, name: str, ended: int) -> Filled:
    url = await rig.new_database(name)
    begun = monotonic()
    tenants = await fill(url, ended=ended, waiting=WAITING)
    seconds = monotonic() - begun
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    return Filled(url, Alongside(database, tenants, ended), seconds)


def _slowest(name: str, few: list[list[float]], many: list[list[float]], sizes: str) -> Figure:
    return Figure(
        name=f"{name} at {MANY:,} ended jobs, p99",
        value=_p99(many),
        unit="ms",
        target=CLAIM_TARGET_MILLISECONDS,
        at_least=False,
        note=f"{CLAIMERS} claimers in {PROCESSES} processes, as fast as they can, with {WAITING:,} "
        f"jobs waiting; at {FEW:,} ended jobs {_p99(few):.2f} ms; at {MANY:,}: {sizes}",
    )


def _ratio(name: str, few: list[list[float]], many: list[list[float]]) -> Figure:
    return Figure(
        name=f"{name} at {MANY:,} ended jobs, p50",
        value=_p50(many),
        unit="ms",
        baseline=_p50(few),
        target=FLAT,
        at_least=False,
        note=f"the baseline is the same at {FEW:,}; each the median of {ROUNDS} rounds in turn; "
        f"p99 {_p99(many):.2f} ms, baseline {_p99(few):.2f} ms",
    )


def _p50(rounds: list[list[float]]) -> float:
    return median(median(times) for times in rounds)


def _p99(rounds: list[list[float]]) -> float:
    return percentile([time for times in rounds for time in times], 99)
