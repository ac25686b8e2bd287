"""Whether claim, fetch and finish stay as fast with millions of ended jobs in the tables."""

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
from tests.bench.load.background import BackgroundLoad
from tests.bench.load.claim_and_finish import claim_and_finish
from tests.bench.rig.stack import Rig
from tests.bench.sizes import Sizes, TableSizes

CLAIM_TARGET_MILLISECONDS: Final = 25
FLAT: Final = 1.5
SIZES_QUERY: Final = """
SELECT pg_size_pretty(pg_table_size('jobs')), pg_size_pretty(pg_indexes_size('jobs')),
    pg_size_pretty(pg_relation_size('ix_jobs_queued')),
    pg_size_pretty(pg_database_size(current_database()))
"""


@dataclass(frozen=True, slots=True)
class FilledDatabase:
    """A database with ended jobs, and the milliseconds measured on it, one list a round."""

    url: str
    background: BackgroundLoad
    fill_seconds: float
    claims: list[list[float]] = field(default_factory=list)
    finishes: list[list[float]] = field(default_factory=list)
    fetches: list[list[float]] = field(default_factory=list)

    async def round(self, executor: Executor, rows: TableSizes) -> None:
        """Let each claimer claim and finish its jobs, beside the background load."""
        work = partial(claim_and_finish, self.url, rows.claimers, rows.jobs)
        loop = asyncio.get_running_loop()
        async with self.background.running() as fetches:
            times = await asyncio.gather(
                *(loop.run_in_executor(executor, work) for _ in range(rows.processes))
            )
        self.claims.append([claim for part in times for claim in part.claims])
        self.finishes.append([finish for part in times for finish in part.finishes])
        self.fetches.append(fetches)

    async def sizes(self) -> str:
        """Return a sentence with the sizes of its tables and indexes."""
        connection = await asyncpg.connect(self.url)
        try:
            jobs, indexes, queued, everything = await connection.fetchrow(SIZES_QUERY)
        finally:
            await connection.close()
        return (
            f"jobs {jobs} with {indexes} of indexes (of the waiting {queued}), "
            f"all tables {everything}, filled in {self.fill_seconds:.0f} s"
        )


async def measure(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Fill one database with few and one with many ended jobs, and compare them round by round.

    The rounds alternate, so that a neighbour's noise falls on both.
    """
    rows = sizes.tables
    few = await _filled(rig, "few", rows.few, rows)
    many = await _filled(rig, "many", rows.many, rows)
    on_disk = await many.sizes()
    with ProcessPoolExecutor(rows.processes, get_context("spawn")) as processes:
        for number in range(rows.rounds + 1):
            for filled in (few, many):
                await filled.round(processes, rows)
                if not number:  # the first round warms both up
                    filled.claims.clear()
                    filled.finishes.clear()
                    filled.fetches.clear()
    for filled in (few, many):
        await filled.background.database.aclose()
    return [
        _slowest("claim", few.claims, many.claims, rows, on_disk),
        _ratio("claim", few.claims, many.claims, rows),
        _ratio("finish", few.finishes, many.finishes, rows),
        _ratio("fetch", few.fetches, many.fetches, rows),
    ]


async def _filled(rig: Rig, name: str, ended: int, rows: TableSizes) -> FilledDatabase:
    url = await rig.new_database(name)
    begun = monotonic()
    tenants = await fill(url, ended=ended, waiting=rows.waiting)
    seconds = monotonic() - begun
    database = Database(DatabaseSettings(url=SecretStr(url)), application="infill-bench")
    return FilledDatabase(url, BackgroundLoad(database, tenants, ended), seconds)


def _slowest(
    name: str,
    few: list[list[float]],
    many: list[list[float]],
    rows: TableSizes,
    on_disk: str,
) -> Figure:
    return Figure(
        name=f"{name} at {rows.many:,} ended jobs, p99",
        value=_p99(many),
        unit="ms",
        target=CLAIM_TARGET_MILLISECONDS,
        at_least=False,
        note=f"{rows.processes * rows.claimers} claimers in {rows.processes} processes, as fast as "
        f"they can, with {rows.waiting:,} jobs waiting; at {rows.few:,} ended jobs "
        f"{_p99(few):.2f} ms; at {rows.many:,}: {on_disk}",
    )


def _ratio(name: str, few: list[list[float]], many: list[list[float]], rows: TableSizes) -> Figure:
    return Figure(
        name=f"{name} at {rows.many:,} ended jobs, p50",
        value=_p50(many),
        unit="ms",
        baseline=_p50(few),
        target=FLAT,
        at_least=False,
        note=f"the baseline is the same at {rows.few:,}; each the median of {rows.rounds} "
        f"alternating rounds; p99 {_p99(many):.2f} ms, baseline {_p99(few):.2f} ms",
    )


def _p50(rounds: list[list[float]]) -> float:
    return median(median(times) for times in rounds)


def _p99(rounds: list[list[float]]) -> float:
    return percentile([time for times in rounds for time in times], 99)
