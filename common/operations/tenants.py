"""Use cases for tenants: create, list, limit, disable and delete tenants."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.errors import ConflictError
from common.domain.limits import Limits
from common.domain.names import check_name
from common.operations.audit import Change, Operator, audited_change
from common.operations.lookups import require_plan, require_tenant_id
from common.operations.paging import Listed, Page, parse_page
from common.operations.webhook_secrets import SECRET_OVERLAP_SECONDS
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.shares import refresh_shares
from common.postgres.repositories.tenants import tenants
from common.postgres.repositories.tenants.tenants import DEFAULT_PLAN, TenantRecord
from common.standard_webhooks.keys import new_secret


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A newly created tenant with its first webhook secret, which is not shown again."""

    id: int
    name: str
    plan: str
    webhook_secret: str


@dataclass(frozen=True, slots=True)
class TenantView(TenantRecord):
    """A tenant with its `effective_limits`: the plan's limits, overridden by the tenant's own."""

    effective_limits: Limits


async def create_tenant(
    database: Database, operator: Operator, name: str, *, plan: str = DEFAULT_PLAN
) -> NewTenant:
    """Create a tenant on a plan, and its first webhook secret.

    Raises:
        InvalidNameError: the name is not valid.
        NotFoundError: the plan does not exist.
        ConflictError: the name is taken.
    """
    check_name(name)
    secret = new_secret()
    async with audited_change(database, operator, "tenant.create", tenant=name) as change:
        chosen = await require_plan(change.connection, plan)
        tenant_id = await tenants.create_tenant(change.connection, name, plan=chosen.name)
        if tenant_id is None:
            raise ConflictError(f"there is already a tenant called {name}")
        await refresh_shares(change.connection, tenant_id=tenant_id)
        await tenants.add_webhook_secret(
            change.connection,
            tenant_id=tenant_id,
            secret=secret,
            overlap_seconds=SECRET_OVERLAP_SECONDS,
        )
        change.details = {"plan": plan}
    return NewTenant(tenant_id, name, plan, secret)


async def list_tenants(database: Database, page: Page) -> Listed[TenantRecord]:
    """Return a page of all tenants, oldest first.

    Raises:
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "tenants")
    async with database.statement() as connection:
        rows = await tenants.list_tenants(
            connection, after=position.after, limit=position.rows_to_read
        )
    return position.to_page(rows)


async def show_tenant(database: Database, name: str) -> TenantView:
    """Return one tenant with its effective limits.

    Raises:
        NotFoundError: the tenant does not exist.
    """
    async with database.statement() as connection:
        return await _view_tenant(connection, await require_tenant_id(connection, name))


async def set_tenant_plan(
    database: Database, operator: Operator, name: str, plan: str
) -> TenantView:
    """Move a tenant to another plan.

    Raises:
        NotFoundError: the tenant or the plan does not exist.
        InvalidLimitsError: the tenant's own limits are invalid in combination with the plan's
            limits.
    """
    async with audited_change(database, operator, "tenant.set_plan", tenant=name) as change:
        tenant_id = await require_tenant_id(change.connection, name)
        chosen = await require_plan(change.connection, plan)
        before = await tenants.read_tenant(change.connection, tenant_id)
        Limits.from_json(chosen.limits, before.limits)
        await tenants.set_tenant_plan(change.connection, tenant_id, chosen.id)
        await refresh_shares(change.connection, tenant_id=tenant_id)
        change.details = {"plan": plan, "before": before.plan}
        return await _view_tenant(change.connection, tenant_id)


async def set_tenant_limits(
    database: Database, operator: Operator, name: str, limits: Mapping[str, Any]
) -> TenantView:
    """Replace a tenant's own limits, which override its plan's limits.

    Raises:
        NotFoundError: the tenant does not exist.
        InvalidLimitsError: some limits are invalid; the error names each of them.
    """
    async with audited_change(database, operator, "tenant.set_limits", tenant=name) as change:
        tenant_id = await require_tenant_id(change.connection, name)
        before = await tenants.read_tenant(change.connection, tenant_id)
        plan = await require_plan(change.connection, before.plan)
        Limits.from_json(plan.limits, limits)
        await tenants.set_tenant_limits(change.connection, tenant_id, limits)
        await refresh_shares(change.connection, tenant_id=tenant_id)
        change.details = {"limits": dict(limits), "before": before.limits}
        return await _view_tenant(change.connection, tenant_id)


async def disable_tenant(database: Database, operator: Operator, name: str) -> TenantRecord:
    """Disable a tenant: its keys are rejected, and its waiting jobs are not started.

    Its running jobs are completed, and its webhooks are still delivered.

    Raises:
        NotFoundError: the tenant does not exist.
        ConflictError: the tenant is disabled already.
    """
    async with audited_change(database, operator, "tenant.disable", tenant=name) as change:
        before = await _read_tenant(change, name)
        if before.disabled_at is not None:
            raise ConflictError(f"{name} is already disabled")
        await tenants.set_tenant_disabled(change.connection, name, disabled=True)
        return await _refresh_shares(change, before)


async def enable_tenant(database: Database, operator: Operator, name: str) -> TenantRecord:
    """Enable a disabled tenant, so that its waiting jobs can start again.

    Raises:
        NotFoundError: the tenant does not exist.
        ConflictError: the tenant is not disabled, or is being deleted.
    """
    async with audited_change(database, operator, "tenant.enable", tenant=name) as change:
        before = await _read_tenant(change, name)
        if before.deleting_at is not None:
            raise ConflictError(f"{name} is being deleted, and cannot be restored")
        if before.disabled_at is None:
            raise ConflictError(f"{name} is not disabled")
        await tenants.set_tenant_disabled(change.connection, name, disabled=False)
        return await _refresh_shares(change, before)


async def delete_tenant(database: Database, operator: Operator, name: str) -> TenantRecord:
    """Disable a tenant and mark it for deletion.

    The dispatcher erases all of its data as soon as none of its jobs is running.

    Raises:
        NotFoundError: the tenant does not exist.
        ConflictError: the tenant is being deleted already.
    """
    async with audited_change(database, operator, "tenant.delete", tenant=name) as change:
        before = await _read_tenant(change, name)
        if before.deleting_at is not None:
            raise ConflictError(f"{name} is already being deleted")
        await tenants.mark_deleting(change.connection, before.id)
        return await _refresh_shares(change, before)


async def _read_tenant(change: Change, name: str) -> TenantRecord:
    tenant_id = await require_tenant_id(change.connection, name)
    return await tenants.read_tenant(change.connection, tenant_id)


async def _refresh_shares(change: Change, before: TenantRecord) -> TenantRecord:
    await refresh_shares(change.connection, tenant_id=before.id)
    return await tenants.read_tenant(change.connection, before.id)


async def _view_tenant(connection: AsyncConnection, tenant_id: int) -> TenantView:
    tenant = await tenants.read_tenant(connection, tenant_id)
    plan = await require_plan(connection, tenant.plan)
    limits = Limits.from_json(plan.limits, tenant.limits)
    return TenantView(**asdict(tenant), effective_limits=limits)
