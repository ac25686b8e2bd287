"""Create, read, change and disable tenants; add their webhook secrets."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.names import is_name
from common.postgres.expressions import from_now, select_page
from common.postgres.models import Plan, Tenant, TenantShare, WebhookSecret
from common.postgres.sql_text import load_sql

# The plan that every installation has; without limits until an operator sets some.
DEFAULT_PLAN: Final = "default"

_TENANTS: Final = select(
    Tenant.id,
    Tenant.name,
    Plan.name,
    Tenant.limits,
    Tenant.created_at,
    Tenant.disabled_at,
    Tenant.deleting_at,
).join(Plan, Plan.id == Tenant.plan_id)
_CREATE: Final = load_sql(__package__, "create_tenant.sql", columns=(TenantShare.tenant_id,))


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant as operators see it; its own `limits` override its plan's limits."""

    id: int
    name: str
    plan: str
    limits: dict[str, Any]
    created_at: datetime
    disabled_at: datetime | None
    deleting_at: datetime | None


async def create_tenant(
    connection: AsyncConnection, name: str, *, plan: str = DEFAULT_PLAN
) -> int | None:
    """Create a tenant, at first without a limit on running jobs, and return its id.

    Return None if the name is taken or the plan does not exist. The caller must call
    `refresh_shares` to apply the plan's limits.
    """
    return (await connection.execute(_CREATE, {"name": name, "plan": plan})).scalar()


async def find_tenant(connection: AsyncConnection, name: str) -> int | None:
    """Return the id of the tenant with this name, or None if there is none."""
    if not is_name(name):  # Postgres raises an error for some such texts
        return None
    return (await connection.execute(select(Tenant.id).where(Tenant.name == name))).scalar()


async def read_tenant(connection: AsyncConnection, tenant_id: int) -> TenantRecord:
    """Return the tenant with this id, which must exist."""
    return TenantRecord(*(await connection.execute(_TENANTS.where(Tenant.id == tenant_id))).one())


async def list_tenants(
    connection: AsyncConnection, *, after: int | None, limit: int
) -> list[TenantRecord]:
    """Return up to `limit` tenants with ids above `after`, oldest first."""
    rows = await connection.execute(select_page(_TENANTS, Tenant.id, after, limit))
    return [TenantRecord(*row) for row in rows]


async def list_limited_tenants(connection: AsyncConnection, plan_id: int) -> list[TenantRecord]:
    """Return the tenants on a plan that have limits of their own."""
    statement = _TENANTS.where(Tenant.plan_id == plan_id, Tenant.limits != {})
    return [TenantRecord(*row) for row in await connection.execute(statement)]


async def set_tenant_plan(connection: AsyncConnection, tenant_id: int, plan_id: int) -> None:
    """Assign a tenant to a plan; the caller must call `refresh_shares` to apply its limits."""
    await connection.execute(update(Tenant).where(Tenant.id == tenant_id).values(plan_id=plan_id))


async def set_tenant_limits(
    connection: AsyncConnection, tenant_id: int, limits: Mapping[str, Any]
) -> None:
    """Replace a tenant's own limits; the caller must call `refresh_shares` to apply them."""
    await connection.execute(
        update(Tenant).where(Tenant.id == tenant_id).values(limits=dict(limits))
    )


async def mark_deleting(connection: AsyncConnection, tenant_id: int) -> None:
    """Disable a tenant and mark it for deletion; a dispatcher drains and erases it."""
    disabled_at = func.coalesce(Tenant.disabled_at, func.now())
    await connection.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(disabled_at=disabled_at, deleting_at=func.now())
    )


async def set_tenant_disabled(connection: AsyncConnection, name: str, *, disabled: bool) -> bool:
    """Disable or enable a tenant by name; return False if there is no such tenant."""
    statement = (
        update(Tenant)
        .where(Tenant.name == name)
        .values(disabled_at=func.now() if disabled else None)
    )
    return (await connection.execute(statement)).rowcount == 1


async def add_webhook_secret(
    connection: AsyncConnection, *, tenant_id: int, secret: str, overlap_seconds: float
) -> int:
    """Add a webhook secret and return its id; the previous one expires in `overlap_seconds`."""
    await connection.execute(
        update(WebhookSecret)
        .where(WebhookSecret.tenant_id == tenant_id, WebhookSecret.expires_at.is_(None))
        .values(expires_at=from_now(overlap_seconds))
    )
    new = insert(WebhookSecret).values(tenant_id=tenant_id, secret=secret)
    return (await connection.execute(new.returning(WebhookSecret.id))).scalar_one()
