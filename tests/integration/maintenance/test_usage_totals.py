"""The sweeper folds the usage ledger into daily totals, a bounded part in each sweep."""

from datetime import date

import pytest
from sqlalchemy import text

from common.operations.usage import report_usage
from common.postgres.database import Database
from tests.integration.maintenance.test_sweeper import Sweep, rows, sweep
from tests.support.jobs import Owner, add_queued_job, add_succeeded_job
from worker.maintenance import sweeper as sweeping

__all__ = ["sweep"]  # a fixture from another module

MARKS = "SELECT count(*) FROM unfolded_usage"


async def used(database: Database) -> list[tuple[int, int, str]]:
    lines = await report_usage(database, tenant=None, since=date.min, until=date.max)
    return [(line.jobs, line.images, f"{line.megapixel_steps}") for line in lines]


async def test_a_sweep_folds_new_usage_entries(
    database: Database, owner: Owner, sweep: Sweep
) -> None:
    for number in range(1, 4):
        await add_succeeded_job(database, owner, None)
        before = await used(database)
        await sweep()
        assert await rows(database, MARKS) == [(0,)]
        assert await rows(database, "SELECT jobs FROM daily_usage") == [(number,)]
        assert await used(database) == before == [(number, number, f"{0.008192 * number:.6f}")]


async def test_a_backlog_is_folded_over_several_sweeps(
    database: Database, owner: Owner, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "USAGE_ENTRIES", 2)
    monkeypatch.setattr(sweeping, "USAGE_BATCHES", 2)
    for _ in range(7):
        await add_succeeded_job(database, owner, None)
    before, left = await used(database), []
    for _ in range(3):
        await sweep()
        left += await rows(database, MARKS)
        assert await used(database) == before
    assert left == [(3,), (0,), (0,)]


async def test_usage_that_cannot_be_folded_stops_no_earlier_task(
    database: Database, owner: Owner, sweep: Sweep
) -> None:
    await add_succeeded_job(database, owner, None)
    await add_queued_job(database, owner)
    overdue = "UPDATE jobs SET created_at = now() - interval '25 hours' WHERE state = 'queued'"
    async with database.statement() as connection:
        await connection.execute(text("ALTER TABLE daily_usage ADD CHECK (jobs < 1)"))
        await connection.execute(text(overdue))
    with pytest.raises(Exception, match="daily_usage"):
        await sweep()
    states = "SELECT state FROM jobs ORDER BY state"
    assert await rows(database, states) == [("failed",), ("succeeded",)]
    assert await rows(database, MARKS) == [(1,)]
