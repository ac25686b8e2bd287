"""Clearing what claims leave behind in the books of fair claiming, sooner than autovacuum does.

A claim moves its tenants to the back of their queue, and every later claim steps over the index
entries they had at its front: within a minute, which is how often autovacuum looks, thousands.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.models import TenantQueue

# Fewer are stepped over in some ten microseconds.
WORTH_A_VACUUM: Final = 2_000

_DEAD: Final = text(f"SELECT pg_stat_get_dead_tuples('{TenantQueue.__tablename__}'::regclass)")
# Cutting the table shorter would lock claims out. If a vacuum is under way already, that will do.
_VACUUM: Final = text(
    f"VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON, TRUNCATE OFF, PARALLEL 0) {TenantQueue.__tablename__}"
)


async def vacuum_queues(connection: AsyncConnection, *, worth_it: int = WORTH_A_VACUUM) -> bool:
    """Vacuum the tenants' queues once `worth_it` rows have been left dead there; tell whether.

    Takes milliseconds, for it has a row for each tenant and queue alone. An account that does not
    own the table is let do nothing by Postgres, with a warning: autovacuum remains.
    """
    dead = (await connection.execute(_DEAD)).scalar_one()
    if dead < worth_it:
        return False
    await connection.execute(_VACUUM)
    return True
