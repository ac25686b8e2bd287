"""What a fair claim writes down: the service its tenants have received, and who has more."""

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Subquery,
    func,
    literal_column,
    or_,
    select,
    update,
)

from common.postgres.models import TenantQueue


def summed_up(tenants: CTE, ready: CTE, claimed: CTE) -> Subquery:
    """Add up for each tenant what was found and what of it was taken."""
    return (
        select(
            tenants.c.tenant_id,
            tenants.c.weight,
            func.count(ready.c.id).label("found"),
            func.count(claimed.c.id).label("taken"),
            func.coalesce(func.sum(claimed.c.cost), literal_column("0", Double())).label("cost"),
            func.max(claimed.c.tag).label("tag"),
        )
        .select_from(
            tenants.outerjoin(ready, ready.c.tenant_id == tenants.c.tenant_id).outerjoin(
                claimed, claimed.c.id == ready.c.id
            )
        )
        .group_by(tenants.c.tenant_id, tenants.c.weight)
        .subquery("summed_up")
    )


def served(queue: CTE, tenant: Subquery, size: ColumnElement[int]) -> CTE:
    """Write down the service of those that were served; and who turned out to have nothing."""
    has_more = or_(tenant.c.found >= size, tenant.c.found > tenant.c.taken)
    return (
        update(TenantQueue)
        .where(
            TenantQueue.tenant_id == tenant.c.tenant_id,
            TenantQueue.queue == queue.c.queue,
            or_(tenant.c.taken > 0, tenant.c.found == 0),
        )
        .values(
            running=TenantQueue.running + tenant.c.taken,
            virtual_time=TenantQueue.virtual_time + tenant.c.cost / tenant.c.weight,
            start_tag=func.coalesce(tenant.c.tag, TenantQueue.start_tag),
            has_ready=has_more,
            backlog=func.greatest(
                TenantQueue.backlog - tenant.c.cost, literal_column("0", Double())
            ),
        )
        .returning(TenantQueue.tenant_id, TenantQueue.has_ready, tenant.c.taken)
        .cte("served")
    )
