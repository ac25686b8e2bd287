"""The sweeper vacuums the counters of the fair queue."""

import pytest
from sqlalchemy import text

from common.postgres.database import Database
from common.postgres.repositories.maintenance.vacuum import MIN_DEAD_ROWS
from tests.support.jobs import Owner, add_queued_job
from worker.maintenance.sweeper import Sweeper

# As claims do, one after another: each leaves a dead row behind.
MOVE = """
DO $$ BEGIN
    FOR turn IN 1..{times} LOOP
        UPDATE tenant_queues SET virtual_time = virtual_time + 1;
    END LOOP;
END $$
"""


@pytest.mark.parametrize(("times", "vacuums"), [(MIN_DEAD_ROWS, 1), (MIN_DEAD_ROWS // 2, 0)])
async def test_a_sweep_vacuums_the_queues_after_many_updates(
    database: Database, owner: Owner, sweeper: Sweeper, times: int, vacuums: int
) -> None:
    await add_queued_job(database, owner)
    async with database.statement() as connection:
        # Dead rows of earlier tests count too.
        await connection.execute(text("VACUUM tenant_queues"))
        before = await counted_vacuums(database)
        await connection.execute(text(MOVE.format(times=times)))
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        await connection.execute(text("SELECT 1"))  # the flush is part of the next statement
        await sweeper.sweep(connection)
    assert await counted_vacuums(database) == before + vacuums


async def counted_vacuums(database: Database) -> int:
    async with database.statement() as connection:
        found = await connection.execute(
            text("SELECT pg_stat_get_vacuum_count('tenant_queues'::regclass)")
        )
        return int(found.scalar_one())
