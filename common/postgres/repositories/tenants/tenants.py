"""Tenants, and the secrets their webhooks are signed with."""

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

# The plan there is in every installation: no limits, until an operator sets some.
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
    """A tenant as an operator sees it; `limits` are its own, and have the say over its plan's."""

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
    """Create a tenant on a plan, with an unlimited share; return its id, None if the name is taken.

    The plan's limits are granted by another statement.
    """
    return (await connection.execute(_CREATE, {"name": name, "plan": plan})).scalar()


async def find_tenant(connection: AsyncConnection, name: str) -> int | None:
    """Give the id of the tenant of that name, None if there is none."""
    if not is_name(name):  # some such texts Postgres does not even take
        return None
    return (await connection.execute(select(Tenant.id).where(Tenant.name == name))).scalar()


async def read_tenant(connection: AsyncConnection, tenant_id: int) -> TenantRecord:
    """Give a tenant that is there."""
    return TenantRecord(*(await connection.execute(_TENANTS.where(Tenant.id == tenant_id))).one())


async def list_tenants(
    connection: AsyncConnection, *, after: int | None, limit: int
) -> list[TenantRecord]:
    """Give up to `limit` tenants, oldest first, those after the id `after`."""
    rows = await connection.execute(select_page(_TENANTS, Tenant.id, after, limit))
    return [TenantRecord(*row) for row in rows]


async def list_limited_tenants(connection: AsyncConnection, plan_id: int) -> list[TenantRecord]:
    """Give the tenants on a plan that have limits of their own."""
    statement = _TENANTS.where(Tenant.plan_id == plan_id, Tenant.limits != {})
    return [TenantRecord(*row) for row in await connection.execute(statement)]


async def set_tenant_plan(connection: AsyncConnection, tenant_id: int, plan_id: int) -> None:
    """Put a tenant on a plan; its share is another statement's business."""
    await connection.execute(update(Tenant).where(Tenant.id == tenant_id).values(plan_id=plan_id))


async def set_tenant_limits(
    connection: AsyncConnection, tenant_id: int, limits: Mapping[str, Any]
) -> None:
    """Give a tenant limits of its own; its share is another statement's business."""
    await connection.execute(
        update(Tenant).where(Tenant.id == tenant_id).values(limits=dict(limits))
    )


async def mark_deleting(connection: AsyncConnection, tenant_id: int) -> None:
    """Disable a tenant for good: a dispatcher drains and erases it."""
    disabled_at = func.coalesce(Tenant.disabled_at, func.now())
    await connection.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(disabled_at=disabled_at, deleting_at=func.now())
    )


async def disable_tenant(connection: AsyncConnection, name: str, *, disabled: bool) -> bool:
    """Shut a tenant's keys out, or let them in again; False if there is no such tenant."""
    statement = (
        update(Tenant)
        .where(Tenant.name == name)
        .values(disabled_at=func.now() if disabled else None)
    )
    return (await connection.execute(statement)).rowcount == 1


async def add_webhook_secret(
    connection: AsyncConnection, *, tenant_id: int, secret: str, overlap_seconds: float
) -> int:
    """Give a tenant a new signing secret, and its id; the old live on for `overlap_seconds`."""
    await connection.execute(
        update(WebhookSecret)
        .where(WebhookSecret.tenant_id == tenant_id, WebhookSecret.expires_at.is_(None))
        .values(expires_at=from_now(overlap_seconds))
    )
    new = insert(WebhookSecret).values(tenant_id=tenant_id, secret=secret)
    return (await connection.execute(new.returning(WebhookSecret.id))).scalar_one()
