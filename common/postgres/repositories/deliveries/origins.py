"""Find the tenants and origins with due deliveries, which dispatchers then claim.

A claim locks dispatch rows, then origins, then deliveries; it skips locked rows instead of waiting
for them. Every other statement locks deliveries first, then origins, then dispatch rows, each in
the order of their keys, so these statements cannot deadlock. When a delivery becomes pending,
database triggers record its due time in these rows (`migrations/baseline/delivery_triggers.sql`).
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import CTE, Executable, func, select, update

from common.postgres.models import TenantDispatch, TenantOrigin
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

OriginKey = tuple[int, str]  # tenant id and origin


async def mark_due_dispatches(connection: Executor) -> int:
    """Set `has_due` on the tenant dispatches whose `due_at` has passed; return how many."""
    return len((await connection.execute(_MARK_DUE, {})).all())


async def recheck_origins(connection: Executor, origins: Iterable[OriginKey]) -> bool:
    """Correct the due times of these origins for deliveries committed while a claim was running.

    A claim does not see such deliveries. Return True if the due time of any tenant was corrected.
    """
    pairs = list(origins)
    tenants = [tenant_id for tenant_id, _ in pairs]
    values = {"of_tenants": tenants, "of_origins": [origin for _, origin in pairs]}
    await connection.execute(_RECHECK_ORIGINS, values)
    return bool((await connection.execute(_RECHECK_DISPATCHES, {"of_tenants": tenants})).all())


async def recheck_all_origins(connection: Executor) -> int:
    """Correct origins' and tenants' due times that are later than the due time of a delivery.

    Return how many tenant dispatches were corrected. Origins that another process has locked are
    skipped.
    """
    await connection.execute(_RECHECK_ALL_ORIGINS, {"of_tenants": [], "of_origins": []})
    return len((await connection.execute(_RECHECK_ALL_DISPATCHES, {"of_tenants": []})).all())


def _select_due_dispatches() -> CTE:
    return (
        select(TenantDispatch.tenant_id, TenantDispatch.retries)
        .where(~TenantDispatch.has_due, TenantDispatch.due_at <= func.now())
        .with_for_update(skip_locked=True)
        .cte("due")
    )


_DUE: Final = _select_due_dispatches()
_MARK_DUE: Final = (
    update(TenantDispatch)
    .where(TenantDispatch.tenant_id == _DUE.c.tenant_id, TenantDispatch.retries == _DUE.c.retries)
    .values(has_due=True)
    .returning(TenantDispatch.tenant_id)
)


def _load_recheck(name: str, *, everywhere: bool) -> Executable:
    return load_sql(
        __package__,
        name,
        columns=(TenantOrigin.tenant_id,),
        integers={"everywhere": int(everywhere)},
    )


_RECHECK_ORIGINS: Final = _load_recheck("recheck_origins.sql", everywhere=False)
_RECHECK_DISPATCHES: Final = _load_recheck("recheck_dispatches.sql", everywhere=False)
_RECHECK_ALL_ORIGINS: Final = _load_recheck("recheck_origins.sql", everywhere=True)
_RECHECK_ALL_DISPATCHES: Final = _load_recheck("recheck_dispatches.sql", everywhere=True)
