"""Clearing what claims leave behind in the books of fair claiming, sooner than autovacuum does.

A claim moves its tenants to the back of their queue, and every later claim steps over the index
entries they had at its front: within a minute, which is how often autovacuum looks, thousands. So
it is with the lines and turns of deliveries.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import TenantDispatch, TenantOrigin, TenantQueue

# Fewer are stepped over in some ten microseconds.
WORTH_A_VACUUM: Final = 2_000

_TABLES: Final = [table.__tablename__ for table in (TenantQueue, TenantOrigin, TenantDispatch)]
_DEAD: Final = {
    table: text(f"SELECT pg_stat_get_dead_tuples('{table}'::regclass)") for table in _TABLES
}
# Cutting the table shorter would lock claims out. If a vacuum is under way already, that will do.
_VACUUM: Final = {
    table: text(f"VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF, PARALLEL 0) {table}")
    for table in _TABLES
}


async def vacuum_queues(connection: AsyncConnection, *, worth_it: int = WORTH_A_VACUUM) -> bool:
    """Vacuum each of the books once `worth_it` rows have been left dead there; tell whether any.

    Takes milliseconds, for they have a row for each tenant and queue, or origin, alone. An account
    that does not own a table is let do nothing by Postgres, with a warning: autovacuum remains.
    """
    worn = [
        table
        for table in _TABLES
        if (await connection.execute(_DEAD[table])).scalar_one() >= worth_it
    ]
    for table in worn:
        await connection.execute(_VACUUM[table])
    return bool(worn)
