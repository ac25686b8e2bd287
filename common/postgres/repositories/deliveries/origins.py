"""Find which tenants and origins have deliveries due, for dispatchers to claim.

A claim locks dispatch rows, then origins, then deliveries, and waits for none of them: it passes
over what others hold. All others wait: first for deliveries, then origins, then dispatch rows, each
in the order of the keys. So there is no deadlock. Whoever makes a delivery pending, the database's
triggers record in these rows that it waits (`migrations/baseline/delivery_triggers.sql`).
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import CTE, Executable, func, select, update

from common.postgres.models import TenantDispatch, TenantOrigin
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

OriginKey = tuple[int, str]  # tenant and origin


async def mark_due_dispatches(connection: Executor) -> int:
    """Mark the tenants whose time has come as having deliveries due; return how many."""
    return len((await connection.execute(_WAKE, {})).all())


async def recheck_origins(connection: Executor, lines: Iterable[OriginKey]) -> bool:
    """Look again at origins that seemed to have nothing more: a commit may have crossed the claim.

    Returns whether anything was found.
    """
    pairs = list(lines)
    tenants, origins = [tenant for tenant, _ in pairs], [origin for _, origin in pairs]
    values = {"of_tenants": tenants, "of_origins": origins}
    await connection.execute(_FIND_DUE_ORIGINS, values)
    return bool((await connection.execute(_FIND_DUE_TENANTS, {"of_tenants": tenants})).all())


async def refresh_due(connection: Executor) -> int:
    """Find due deliveries that no dispatch row shows; return the number of rows corrected.

    Origins that another process has locked are passed over.
    """
    await connection.execute(_FIND_ALL_DUE_ORIGINS, {"of_tenants": [], "of_origins": []})
    return len((await connection.execute(_FIND_ALL_DUE_TENANTS, {"of_tenants": []})).all())


def _come() -> CTE:
    return (
        select(TenantDispatch.tenant_id, TenantDispatch.retries)
        .where(~TenantDispatch.has_due, TenantDispatch.due_at <= func.now())
        .with_for_update(skip_locked=True)
        .cte("come")
    )


_COME: Final = _come()
_WAKE: Final = (
    update(TenantDispatch)
    .where(TenantDispatch.tenant_id == _COME.c.tenant_id, TenantDispatch.retries == _COME.c.retries)
    .values(has_due=True)
    .returning(TenantDispatch.tenant_id)
)


def _finding(name: str, *, everywhere: bool) -> Executable:
    return load_sql(
        __package__,
        name,
        columns=(TenantOrigin.tenant_id,),
        integers={"everywhere": int(everywhere)},
    )


_FIND_DUE_ORIGINS: Final = _finding("find_due_origins.sql", everywhere=False)
_FIND_DUE_TENANTS: Final = _finding("find_due_tenants.sql", everywhere=False)
_FIND_ALL_DUE_ORIGINS: Final = _finding("find_due_origins.sql", everywhere=True)
_FIND_ALL_DUE_TENANTS: Final = _finding("find_due_tenants.sql", everywhere=True)
