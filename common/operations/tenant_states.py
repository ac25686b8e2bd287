"""Shutting tenants out, letting them in again, and seeing them off."""

from common.domain.errors import ConflictError
from common.operations.changes import Change, audited_change
from common.operations.lookups import tenant_of
from common.operations.operator import Operator
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.shares import grant_shares
from common.postgres.repositories.tenants import tenants
from common.postgres.repositories.tenants.tenants import TenantRecord


async def disable_tenant(database: Database, operator: Operator, name: str) -> TenantRecord:
    """Shut a tenant out: its keys open nothing, and none of its waiting jobs is begun.

    What is running is finished, and told of.

    Raises:
        NotFoundError: there is no such tenant.
        ConflictError: it is disabled already.
    """
    async with audited_change(database, operator, "tenant.disable", tenant=name) as change:
        before = await _before(change, name)
        if before.disabled_at is not None:
            raise ConflictError(f"{name} is disabled already")
        await tenants.disable_tenant(change.connection, name, disabled=True)
        return await _settled(change, before)


async def enable_tenant(database: Database, operator: Operator, name: str) -> TenantRecord:
    """Let a disabled tenant in again; its waiting jobs go on.

    Raises:
        NotFoundError: there is no such tenant.
        ConflictError: it is not disabled, or is being deleted.
    """
    async with audited_change(database, operator, "tenant.enable", tenant=name) as change:
        before = await _before(change, name)
        if before.deleting_at is not None:
            raise ConflictError(f"{name} is being deleted, and cannot be had back")
        if before.disabled_at is None:
            raise ConflictError(f"{name} is not disabled")
        await tenants.disable_tenant(change.connection, name, disabled=False)
        return await _settled(change, before)


async def delete_tenant(database: Database, operator: Operator, name: str) -> TenantRecord:
    """Disable a tenant for good; a dispatcher waits for what is running, then erases all of it.

    Raises:
        NotFoundError: there is no such tenant.
        ConflictError: it is being deleted already.
    """
    async with audited_change(database, operator, "tenant.delete", tenant=name) as change:
        before = await _before(change, name)
        if before.deleting_at is not None:
            raise ConflictError(f"{name} is being deleted already")
        await tenants.mark_deleting(change.connection, before.id)
        return await _settled(change, before)


async def _before(change: Change, name: str) -> TenantRecord:
    tenant_id = await tenant_of(change.connection, name)
    return await tenants.read_tenant(change.connection, tenant_id)


async def _settled(change: Change, before: TenantRecord) -> TenantRecord:
    await grant_shares(change.connection, tenant_id=before.id)
    return await tenants.read_tenant(change.connection, before.id)
