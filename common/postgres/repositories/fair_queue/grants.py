"""Copying what plans and tenants say into the shares that claims ask."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Double, Integer, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.models import Plan, Tenant, TenantQueue, TenantShare
from common.postgres.repositories.fair_queue.shares import LIFTED

# Where both speak the tenant's own limit has the say, a null of its own too: as `Limits` reads it.
_LIMITS: Final[ColumnElement[Any]] = Plan.limits.op("||")(Tenant.limits)


async def refresh_shares(
    connection: AsyncConnection, *, tenant_id: int | None = None, plan_id: int | None = None
) -> None:
    """Bring the shares of one tenant, or of all on one plan, up to what plan and tenant say.

    Their virtual time is lifted to that of each queue: service that was not had while they were
    closed or held back by a limit is not made up for at the expense of the others.
    """
    chosen = Tenant.id == tenant_id if plan_id is None else Tenant.plan_id == plan_id
    await _lift(connection, chosen)
    theirs = (
        select(
            Tenant.id,
            Tenant.disabled_at.is_not(None).label("closed"),
            func.coalesce(_limit("weight", Double()), 1.0).label("weight"),
            _limit("max_running", Integer()).label("max_running"),
            _limit("max_running_per_queue", Integer()).label("max_running_per_queue"),
        )
        .join(Plan, Plan.id == Tenant.plan_id)
        .where(chosen)
        .subquery("theirs")
    )
    copied = (
        TenantShare.closed,
        TenantShare.weight,
        TenantShare.max_running,
        TenantShare.max_running_per_queue,
    )
    await connection.execute(
        update(TenantShare)
        .where(TenantShare.tenant_id == theirs.c.id)
        .values({column: theirs.c[column.key] for column in copied})
    )


async def _lift(connection: AsyncConnection, chosen: ColumnElement[bool]) -> None:
    # In one order, and before the shares: so that nobody who locks as we do waits in a ring.
    locked = (
        select(TenantQueue.tenant_id, TenantQueue.queue)
        .join(Tenant, Tenant.id == TenantQueue.tenant_id)
        .where(chosen)
        .order_by(TenantQueue.tenant_id, TenantQueue.queue)
        .with_for_update(of=TenantQueue)
        .cte("locked")
    )
    await connection.execute(
        update(TenantQueue)
        .where(TenantQueue.tenant_id == locked.c.tenant_id, TenantQueue.queue == locked.c.queue)
        .values(virtual_time=LIFTED)
    )


def _limit(name: str, kind: Any) -> ColumnElement[Any]:
    return cast(_LIMITS.op("->>")(name), kind)
