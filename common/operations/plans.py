"""Use cases for plans: named sets of limits that tenants are assigned to."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.errors import ConflictError, InvalidLimitsError
from common.domain.limits import Limits
from common.domain.names import check_name
from common.operations.audit import Operator, audited_change
from common.operations.lookups import require_plan
from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.shares import refresh_shares
from common.postgres.repositories.tenants import plans
from common.postgres.repositories.tenants.plans import PlanRecord
from common.postgres.repositories.tenants.tenants import DEFAULT_PLAN, list_limited_tenants


async def create_plan(
    database: Database, operator: Operator, name: str, limits: Mapping[str, Any]
) -> PlanRecord:
    """Create a plan and return it.

    Raises:
        InvalidNameError: the name is not valid.
        InvalidLimitsError: some limits are invalid; the error names each of them.
        ConflictError: the name is taken.
    """
    check_name(name)
    checked = Limits.from_json(limits).to_json()
    async with audited_change(database, operator, "plan.create") as change:
        if not await plans.create_plan(change.connection, name, checked):
            raise ConflictError(f"there is already a plan called {name}")
        change.subject, change.details = name, {"limits": checked}
        return await require_plan(change.connection, name)


async def list_plans(database: Database, page: Page) -> Listed[PlanRecord]:
    """Return a page of all plans, oldest first.

    Raises:
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "plans")
    async with database.statement() as connection:
        rows = await plans.list_plans(connection, after=position.after, limit=position.rows_to_read)
    return position.to_page(rows)


async def show_plan(database: Database, name: str) -> PlanRecord:
    """Return the plan with this name.

    Raises:
        NotFoundError: the plan does not exist.
    """
    async with database.statement() as connection:
        return await require_plan(connection, name)


async def set_plan_limits(
    database: Database, operator: Operator, name: str, limits: Mapping[str, Any]
) -> PlanRecord:
    """Replace the limits of a plan; they apply to all tenants on the plan at once.

    Raises:
        NotFoundError: the plan does not exist.
        InvalidLimitsError: some limits are invalid; the error names each of them.
        ConflictError: the limits are invalid in combination with a tenant's own limits.
    """
    checked = Limits.from_json(limits).to_json()
    async with audited_change(database, operator, "plan.set_limits") as change:
        before = await require_plan(change.connection, name)
        await _check_tenants(change.connection, before.id, checked)
        await plans.set_plan_limits(change.connection, before.id, checked)
        await refresh_shares(change.connection, plan_id=before.id)
        change.subject = name
        change.details = {"limits": checked, "before": before.limits}
        return await require_plan(change.connection, name)


async def delete_plan(database: Database, operator: Operator, name: str) -> None:
    """Delete a plan that has no tenants.

    Raises:
        NotFoundError: the plan does not exist.
        ConflictError: the plan has tenants, or is the default plan.
    """
    async with audited_change(database, operator, "plan.delete") as change:
        plan = await require_plan(change.connection, name)
        if name == DEFAULT_PLAN:
            raise ConflictError(
                f"the plan {name} cannot be deleted because it is the default plan for new tenants"
            )
        if not await plans.delete_plan(change.connection, plan.id):
            raise ConflictError(
                f"the plan {name} cannot be deleted because it still has tenants "
                f"({plan.tenants}); move them to another plan first"
            )
        change.subject, change.details = name, {"before": plan.limits}


async def _check_tenants(
    connection: AsyncConnection, plan_id: int, limits: Mapping[str, Any]
) -> None:
    for tenant in await list_limited_tenants(connection, plan_id):
        try:
            Limits.from_json(limits, tenant.limits)
        except InvalidLimitsError as error:
            raise ConflictError(
                f"these limits conflict with those of the tenant {tenant.name}: {error.message}"
            ) from error
