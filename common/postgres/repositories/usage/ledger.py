"""Add the usage ledger up, and read it: the daily totals and what is not in them yet."""

from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnClause, Executable, column
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Usage of one tenant and model on one day, a day in UTC.

    `flagged_images` are those of `images` that were found unsafe.
    """

    tenant: str
    day: date
    model: str
    jobs: int
    images: int
    megapixel_steps: Decimal
    gpu_milliseconds: int
    flagged_images: int


async def fold_usage(connection: AsyncConnection, *, limit: int) -> int:
    """Add up to `limit` entries to the daily totals, and return how many there were.

    Mark and total change in one statement: a process that dies in it has folded nothing, and no
    entry is added twice.
    """
    return int((await connection.execute(_folding(limit))).scalar_one())


async def read_usage(
    connection: AsyncConnection, tenant_id: int | None, since: date, until: date
) -> list[UsageLine]:
    """Return the usage from `since` to `until`, both included; of all tenants, if None is named.

    Sorted by tenant, day and model.
    """
    period = {"since": since, "until": until}
    if tenant_id is None:
        rows = await connection.execute(_READ_ALL, period)
    else:
        rows = await connection.execute(_READ_TENANT, {**period, "of_tenant": tenant_id})
    return [UsageLine(*row) for row in rows]


async def month_credits(connection: Executor, tenant_id: int) -> Decimal:
    """Return the megapixel-steps a tenant has used in this calendar month, in UTC."""
    used: Decimal = (await connection.execute(_MONTH_CREDITS, {"of_tenant": tenant_id})).scalar()
    return used


_LINE: Final[list[ColumnClause[Any]]] = [column(field.name) for field in fields(UsageLine)]
_READ_ALL: Final = load_sql(__package__, "read_usage.sql", columns=_LINE)
_READ_TENANT: Final = load_sql(__package__, "read_tenant_usage.sql", columns=_LINE)
# Without a type: the driver returns a Decimal, and SQLAlchemy's reader does not expect one.
_MONTH_CREDITS: Final = load_sql(__package__, "month_credits.sql", columns=[column("credits")])


# Once for each limit: loading it takes longer than running it.
@cache
def _folding(limit: int) -> Executable:
    return load_sql(
        __package__, "fold_usage.sql", columns=[column("folded")], integers={"limit": limit}
    )
