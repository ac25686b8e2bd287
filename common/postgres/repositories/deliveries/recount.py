"""Maintain tenant origins: recount deliveries being sent, count open breakers, delete idle rows."""

from functools import cache
from typing import Final

from sqlalchemy import Executable, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import literal_int
from common.postgres.models import TenantOrigin
from common.postgres.sql_text import load_sql

# Counting stops here: the number is only shown in a gauge.
MAX_COUNTED: Final = 100_000


async def recount_sending(connection: AsyncConnection, *, per_origin: int) -> int:
    """Recount the deliveries being sent to each origin; return how many origins were corrected.

    Also redetermine which origins have reached the limit `per_origin`, which may have changed.
    """
    return (await connection.execute(_RECOUNT, {"per_origin": per_origin})).rowcount


async def delete_idle_origins(connection: AsyncConnection, *, seconds: float, limit: int) -> int:
    """Delete up to `limit` idle origins without pending deliveries; return how many were deleted.

    An origin is idle if no attempt has been recorded for `seconds`.
    """
    values = {"idle_seconds": seconds}
    return (await connection.execute(_delete_idle_statement(limit), values)).rowcount


async def count_open_breakers(connection: AsyncConnection) -> int:
    """Return the number of origins whose circuit breaker is open or half open."""
    return int((await connection.execute(_COUNT_OPEN_BREAKERS)).scalar_one())


_RECOUNT: Final = load_sql(__package__, "recount_sending.sql")
_COUNT_OPEN_BREAKERS: Final = select(func.count()).select_from(
    select(TenantOrigin.tenant_id)
    .where(TenantOrigin.open_until > literal_column("'-infinity'"))
    .limit(literal_int(MAX_COUNTED))
    .subquery("open_breakers")
)


@cache
def _delete_idle_statement(limit: int) -> Executable:
    return load_sql(__package__, "delete_idle_origins.sql", integers={"limit": limit})
