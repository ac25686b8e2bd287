"""Recount the attempts under way to each origin, and delete idle origins, in every sweep."""

from functools import cache
from typing import Final

from sqlalchemy import Executable, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import literal_int
from common.postgres.models import TenantOrigin
from common.postgres.sql_text import load_sql

# Counting for a gauge stops here.
MOST_COUNTED: Final = 100_000


async def recount_sending(connection: AsyncConnection, *, per_origin: int) -> int:
    """Correct the number of attempts under way to each origin; return how many were wrong.

    Origins that are full are marked anew, as the limit may have changed.
    """
    return (await connection.execute(_RECOUNT, {"per_origin": per_origin})).rowcount


async def delete_idle_origins(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete origins with nothing to send that recorded nothing for `seconds`; return how many."""
    return (await connection.execute(_deleting(limit), {"idle_seconds": seconds})).rowcount


async def count_open_breakers(connection: AsyncConnection) -> int:
    """Return the number of origins whose circuit breaker is open or half open."""
    return int((await connection.execute(_COUNT_OPEN)).scalar_one())


_RECOUNT: Final = load_sql(__package__, "recount_sending.sql")
_COUNT_OPEN: Final = select(func.count()).select_from(
    select(TenantOrigin.tenant_id)
    .where(TenantOrigin.open_until > literal_column("'-infinity'"))
    .limit(literal_int(MOST_COUNTED))
    .subquery("held")
)


@cache
def _deleting(limit: int) -> Executable:
    return load_sql(__package__, "delete_idle_origins.sql", integers={"limit": limit})
