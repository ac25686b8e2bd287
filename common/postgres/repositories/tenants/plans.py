"""Create, read, change and delete plans, which are sets of limits shared by tenants."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import select_page
from common.postgres.models import Plan, Tenant

_TENANTS: Final = (
    select(func.count()).where(Tenant.plan_id == Plan.id).scalar_subquery().label("tenants")
)
_PLANS: Final = select(Plan.id, Plan.name, Plan.limits, Plan.created_at, _TENANTS)


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan as operators see it; `tenants` is the number of tenants on the plan."""

    id: int
    name: str
    limits: dict[str, Any]
    created_at: datetime
    tenants: int


async def create_plan(connection: AsyncConnection, name: str, limits: Mapping[str, Any]) -> bool:
    """Create a plan; return False if the name is taken."""
    statement = insert(Plan).values(name=name, limits=dict(limits)).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount == 1


async def find_plan(connection: AsyncConnection, name: str) -> PlanRecord | None:
    """Return the plan with this name, or None if there is none."""
    row = (await connection.execute(_PLANS.where(Plan.name == name))).first()
    return None if row is None else PlanRecord(*row)


async def list_plans(
    connection: AsyncConnection, *, after: int | None, limit: int
) -> list[PlanRecord]:
    """Return up to `limit` plans with ids above `after`, oldest first."""
    rows = await connection.execute(select_page(_PLANS, Plan.id, after, limit))
    return [PlanRecord(*row) for row in rows]


async def set_plan_limits(
    connection: AsyncConnection, plan_id: int, limits: Mapping[str, Any]
) -> None:
    """Replace the limits of a plan; the caller must call `refresh_shares` to apply them."""
    await connection.execute(update(Plan).where(Plan.id == plan_id).values(limits=dict(limits)))


async def delete_plan(connection: AsyncConnection, plan_id: int) -> bool:
    """Delete a plan; return False if it has tenants."""
    statement = delete(Plan).where(Plan.id == plan_id, ~exists().where(Tenant.plan_id == plan_id))
    return (await connection.execute(statement)).rowcount == 1
