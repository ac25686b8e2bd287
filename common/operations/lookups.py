"""Look-ups of tenants and plans by name that raise NotFoundError."""

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.errors import NotFoundError
from common.domain.names import is_name
from common.postgres.repositories.tenants.plans import PlanRecord, find_plan
from common.postgres.repositories.tenants.tenants import find_tenant


async def require_tenant_id(connection: AsyncConnection, name: str) -> int:
    """Return the id of the tenant with that name.

    Raises:
        NotFoundError: there is none.
    """
    tenant_id = await find_tenant(connection, name)
    if tenant_id is None:
        raise NotFoundError(f"there is no tenant called {name}")
    return tenant_id


async def require_plan(connection: AsyncConnection, name: str) -> PlanRecord:
    """Return the plan with that name.

    Raises:
        NotFoundError: there is none.
    """
    plan = await find_plan(connection, name) if is_name(name) else None
    if plan is None:
        raise NotFoundError(f"there is no plan called {name}")
    return plan
