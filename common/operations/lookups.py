"""Look up tenants and plans by name; raise NotFoundError if they do not exist."""

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.errors import NotFoundError
from common.domain.names import is_name
from common.postgres.repositories.tenants.plans import PlanRecord, find_plan
from common.postgres.repositories.tenants.tenants import find_tenant


async def require_tenant_id(connection: AsyncConnection, name: str) -> int:
    """Return the id of the tenant with this name.

    Raises:
        NotFoundError: there is no tenant with this name.
    """
    tenant_id = await find_tenant(connection, name)
    if tenant_id is None:
        raise NotFoundError(f"there is no tenant called {name}")
    return tenant_id


async def require_plan(connection: AsyncConnection, name: str) -> PlanRecord:
    """Return the plan with this name.

    Raises:
        NotFoundError: there is no plan with this name.
    """
    plan = await find_plan(connection, name) if is_name(name) else None
    if plan is None:
        raise NotFoundError(f"there is no plan called {name}")
    return plan
