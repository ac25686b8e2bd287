"""Admin routes for tenants."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.admin.fields import LimitsObject, Name, PathName
from api.body.json_documents import JsonDocument
from api.body.json_response import json_result
from api.body.query_parameters import Paged
from api.errors.openapi import document_route
from common.operations import tenants
from common.operations.paging import Listed
from common.postgres.repositories.tenants.tenants import DEFAULT_PLAN, TenantRecord

router = APIRouter(prefix=f"{PREFIX}/tenants", tags=["admin: tenants"])


class NewTenant(JsonDocument):
    """Request body: the name and the plan of a new tenant."""

    name: Name
    plan: Name = DEFAULT_PLAN


class PlanOfTenant(JsonDocument):
    """Request body: the plan to move a tenant to."""

    plan: Name


class LimitsOfTenant(JsonDocument):
    """Request body: a tenant's own limits; each overrides the same limit of the tenant's plan."""

    limits: LimitsObject = Field(examples=[{"max_running": 8, "weight": 2}])


@router.get("", response_model=Listed[TenantRecord], **document_route())
async def list_tenants(context: CurrentOperator, query: Paged) -> Response:
    """List tenants, oldest first."""
    return json_result(await tenants.list_tenants(context.database, query.page))


@router.post(
    "", status_code=201, response_model=tenants.NewTenant, **document_route(409, body=NewTenant)
)
async def create_tenant(
    context: CurrentOperator, new: Annotated[NewTenant, Depends(json_body(NewTenant))]
) -> Response:
    """Create a tenant; its webhook secret is shown in this response only."""
    created = await tenants.create_tenant(
        context.database, context.operator, new.name, plan=new.plan
    )
    return json_result(created, status=201)


@router.get("/{tenant}", response_model=tenants.TenantView, **document_route())
async def show_tenant(context: CurrentOperator, tenant: PathName) -> Response:
    """Show a tenant with its effective limits: the plan's limits, overridden by its own."""
    return json_result(await tenants.show_tenant(context.database, tenant))


@router.put(
    "/{tenant}/plan", response_model=tenants.TenantView, **document_route(409, body=PlanOfTenant)
)
async def set_tenant_plan(
    context: CurrentOperator,
    tenant: PathName,
    change: Annotated[PlanOfTenant, Depends(json_body(PlanOfTenant))],
) -> Response:
    """Move a tenant to another plan, whose limits apply at once."""
    changed = await tenants.set_tenant_plan(context.database, context.operator, tenant, change.plan)
    return json_result(changed)


@router.put(
    "/{tenant}/limits", response_model=tenants.TenantView, **document_route(body=LimitsOfTenant)
)
async def set_tenant_limits(
    context: CurrentOperator,
    tenant: PathName,
    change: Annotated[LimitsOfTenant, Depends(json_body(LimitsOfTenant))],
) -> Response:
    """Replace the tenant's own limits; an empty object removes all of them."""
    changed = await tenants.set_tenant_limits(
        context.database, context.operator, tenant, change.limits
    )
    return json_result(changed)


@router.post("/{tenant}/disable", response_model=TenantRecord, **document_route(409))
async def disable_tenant(context: CurrentOperator, tenant: PathName) -> Response:
    """Disable a tenant: its keys are rejected, and its waiting jobs are not started."""
    changed = await tenants.disable_tenant(context.database, context.operator, tenant)
    return json_result(changed)


@router.post("/{tenant}/enable", response_model=TenantRecord, **document_route(409))
async def enable_tenant(context: CurrentOperator, tenant: PathName) -> Response:
    """Enable a disabled tenant: its keys work again, and its waiting jobs are started again."""
    changed = await tenants.enable_tenant(context.database, context.operator, tenant)
    return json_result(changed)


@router.delete("/{tenant}", status_code=202, response_model=TenantRecord, **document_route(409))
async def delete_tenant(context: CurrentOperator, tenant: PathName) -> Response:
    """Disable a tenant permanently; its data is erased as soon as none of its jobs is running."""
    changed = await tenants.delete_tenant(context.database, context.operator, tenant)
    return json_result(changed, status=202)
