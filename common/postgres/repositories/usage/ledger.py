"""Fold usage entries into daily totals, and read usage from both.

Folding an entry adds it to the total of its tenant, model and day. A row in `unfolded_usage` marks
each entry that is still to be folded.
"""

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
    """Usage of one tenant and model on one day (UTC).

    `flagged_images` is the number of the `images` that the safety checker flagged.
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
    """Fold up to `limit` usage entries into the daily totals; return how many.

    Marks and totals are changed in one statement, so that each entry is added exactly once even if
    the process dies.
    """
    return int((await connection.execute(_fold_statement(limit))).scalar_one())


async def read_usage(
    connection: AsyncConnection, tenant_id: int | None, since: date, until: date
) -> list[UsageLine]:
    """Return the usage from `since` to `until` inclusive, sorted by tenant, day and model.

    If `tenant_id` is None, the usage of all tenants is returned.
    """
    statement = _READ_ALL if tenant_id is None else _READ_TENANT
    values = {"since": since, "until": until, "of_tenant": tenant_id}
    rows = await connection.execute(statement, values)
    return [UsageLine(*row) for row in rows]


async def read_month_credits(connection: Executor, tenant_id: int) -> Decimal:
    """Return the credits (megapixel-steps) that a tenant has used in this calendar month (UTC)."""
    used: Decimal = (
        await connection.execute(_READ_MONTH_CREDITS, {"of_tenant": tenant_id})
    ).scalar()
    return used


_LINE_COLUMNS: Final[list[ColumnClause[Any]]] = [column(field.name) for field in fields(UsageLine)]


def _load_read(*, everywhere: bool) -> Executable:
    return load_sql(
        __package__,
        "read_usage.sql",
        columns=_LINE_COLUMNS,
        integers={"everywhere": int(everywhere)},
    )


_READ_ALL: Final = _load_read(everywhere=True)
_READ_TENANT: Final = _load_read(everywhere=False)
# Without a type: the driver returns a Decimal, and SQLAlchemy's reader does not expect one.
_READ_MONTH_CREDITS: Final = load_sql(
    __package__, "read_month_credits.sql", columns=[column("credits")]
)


# Loaded once for each limit: loading it takes longer than running it.
@cache
def _fold_statement(limit: int) -> Executable:
    return load_sql(
        __package__, "fold_usage.sql", columns=[column("folded")], integers={"limit": limit}
    )
