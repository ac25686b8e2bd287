"""From a name to what it names, or the sentence that there is no such thing."""

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.errors import NotFoundError
from common.domain.names import is_name
from common.postgres.repositories.tenants.plans import PlanRecord, find_plan
from common.postgres.repositories.tenants.tenants import find_tenant


async def require_tenant_id(connection: AsyncConnection, name: str) -> int:
    """Give the id of the tenant of that name.

    Raises:
        NotFoundError: there is none.
    """
    tenant_id = await find_tenant(connection, name)
    if tenant_id is None:
        raise NotFoundError(f"there is no tenant called {name}")
    return tenant_id


async def require_plan(connection: AsyncConnection, name: str) -> PlanRecord:
    """Give the plan of that name.

    Raises:
        NotFoundError: there is none.
    """
    plan = await find_plan(connection, name) if is_name(name) else None
    if plan is None:
        raise NotFoundError(f"there is no plan called {name}")
    return plan
