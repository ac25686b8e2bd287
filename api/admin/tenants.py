"""Tenants over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.body.json_documents import JsonDocument
from api.body.query_parameters import Paged
from api.body.rendering import json_result
from api.errors.openapi import document_route
from common.operations import tenant_states, tenants
from common.operations.paging import Listed
from common.postgres.repositories.tenants.tenants import DEFAULT_PLAN, TenantRecord

router = APIRouter(prefix=f"{PREFIX}/tenants", tags=["admin: tenants"])


class NewTenant(JsonDocument):
    """A tenant to be made."""

    name: str
    plan: str = DEFAULT_PLAN


class PlanOfTenant(JsonDocument):
    """The plan a tenant is to be on."""

    plan: str


class LimitsOfTenant(JsonDocument):
    """The limits a tenant is to have of its own; they go before its plan's."""

    limits: dict[str, Any] = Field(examples=[{"max_running": 8, "weight": 2}])


@router.get("", response_model=Listed[TenantRecord], **document_route())
async def list_tenants(admitted: CurrentOperator, asked: Paged) -> Response:
    """List tenants, oldest first."""
    return json_result(await tenants.list_tenants(admitted.database, asked.page))


@router.post(
    "", status_code=201, response_model=tenants.NewTenant, **document_route(409, body=NewTenant)
)
async def create_tenant(
    admitted: CurrentOperator, new: Annotated[NewTenant, Depends(json_body(NewTenant))]
) -> Response:
    """Make a tenant; its webhook secret is shown in this answer alone."""
    made = await tenants.create_tenant(
        admitted.database, admitted.operator, new.name, plan=new.plan
    )
    return json_result(made, status=201)


@router.get("/{tenant}", response_model=tenants.TenantView, **document_route())
async def show_tenant(admitted: CurrentOperator, tenant: str) -> Response:
    """Show a tenant, with the limits that plan and own limits come to."""
    return json_result(await tenants.show_tenant(admitted.database, tenant))


@router.put(
    "/{tenant}/plan", response_model=tenants.TenantView, **document_route(409, body=PlanOfTenant)
)
async def set_tenant_plan(
    admitted: CurrentOperator,
    tenant: str,
    wanted: Annotated[PlanOfTenant, Depends(json_body(PlanOfTenant))],
) -> Response:
    """Put a tenant on another plan; its limits hold at once."""
    changed = await tenants.set_tenant_plan(
        admitted.database, admitted.operator, tenant, wanted.plan
    )
    return json_result(changed)


@router.put(
    "/{tenant}/limits", response_model=tenants.TenantView, **document_route(body=LimitsOfTenant)
)
async def set_tenant_limits(
    admitted: CurrentOperator,
    tenant: str,
    wanted: Annotated[LimitsOfTenant, Depends(json_body(LimitsOfTenant))],
) -> Response:
    """Give a tenant limits of its own, in place of those it had; an empty object takes them all."""
    changed = await tenants.set_tenant_limits(
        admitted.database, admitted.operator, tenant, wanted.limits
    )
    return json_result(changed)


@router.post("/{tenant}/disable", response_model=TenantRecord, **document_route(409))
async def disable_tenant(admitted: CurrentOperator, tenant: str) -> Response:
    """Shut a tenant out: its keys open nothing, and none of its waiting jobs is begun."""
    changed = await tenant_states.disable_tenant(admitted.database, admitted.operator, tenant)
    return json_result(changed)


@router.post("/{tenant}/enable", response_model=TenantRecord, **document_route(409))
async def enable_tenant(admitted: CurrentOperator, tenant: str) -> Response:
    """Let a disabled tenant in again; its waiting jobs go on."""
    changed = await tenant_states.enable_tenant(admitted.database, admitted.operator, tenant)
    return json_result(changed)


@router.delete("/{tenant}", status_code=202, response_model=TenantRecord, **document_route(409))
async def delete_tenant(admitted: CurrentOperator, tenant: str) -> Response:
    """Disable a tenant for good; once nothing of it runs, all of it is erased."""
    changed = await tenant_states.delete_tenant(admitted.database, admitted.operator, tenant)
    return json_result(changed, status=202)
