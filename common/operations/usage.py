"""The usage report, from which an operator can bill tenants, and its CSV format."""

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from datetime import date
from decimal import Decimal
from io import StringIO
from typing import Any, Final

from common.domain.errors import InvalidPeriodError, NotFoundError
from common.postgres.database import Database
from common.postgres.repositories.tenants.tenants import find_tenant
from common.postgres.repositories.usage.ledger import UsageLine, read_usage

__all__ = ["UsageLine", "report_usage", "to_csv"]

# Characters that make a spreadsheet treat a cell as a formula, full-width forms included.
FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


async def report_usage(
    database: Database, *, tenant: str | None, since: date, until: date
) -> list[UsageLine]:
    """Return the usage per tenant, day (UTC) and model, from `since` to `until` inclusive.

    If `tenant` is None, the usage of all tenants is returned. A job counts from the moment it
    succeeds, even if it has not been added to the daily totals yet.

    Raises:
        InvalidPeriodError: `until` is before `since`.
        NotFoundError: the tenant does not exist.
    """
    if since > until:
        raise InvalidPeriodError(f"until ({until}) must not be earlier than since ({since})")
    async with database.statement() as connection:
        tenant_id = None
        if tenant is not None:
            tenant_id = await find_tenant(connection, tenant)
            if tenant_id is None:
                raise NotFoundError(f"there is no tenant called {tenant}")
        return await read_usage(connection, tenant_id, since, until)


def to_csv(lines: Iterable[UsageLine]) -> str:
    """Return the usage lines as CSV (RFC 4180) with a header line.

    Text that a spreadsheet would interpret as a formula is prefixed with an apostrophe.
    """
    table = StringIO()
    writer = csv.writer(table)
    writer.writerow(field.name for field in fields(UsageLine))
    writer.writerows([_cell(value) for value in astuple(line)] for line in lines)
    return table.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # never as a power of ten
    if isinstance(value, str) and value.lstrip().startswith(FORMULA_SIGNS):
        return f"'{value}"
    return str(value)
