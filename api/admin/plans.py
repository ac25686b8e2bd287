"""Admin routes for plans."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.admin.fields import LimitsObject, Name, PathName
from api.body.json_documents import JsonDocument
from api.body.json_response import json_result
from api.body.query_parameters import Paged
from api.errors.openapi import document_route
from common.operations import plans
from common.operations.paging import Listed
from common.postgres.repositories.tenants.plans import PlanRecord

router = APIRouter(prefix=f"{PREFIX}/plans", tags=["admin: plans"])


class NewPlan(JsonDocument):
    """Request body: the name and the limits of a new plan; an omitted limit does not apply."""

    name: Name
    limits: LimitsObject = Field({}, examples=[{"requests_per_minute": 600, "max_running": 4}])


class LimitsOfPlan(JsonDocument):
    """Request body: the limits that replace the limits of a plan."""

    limits: LimitsObject = Field(examples=[{"requests_per_minute": 600, "max_running": 4}])


@router.get("", response_model=Listed[PlanRecord], **document_route())
async def list_plans(context: CurrentOperator, query: Paged) -> Response:
    """List plans, oldest first."""
    return json_result(await plans.list_plans(context.database, query.page))


@router.post("", status_code=201, response_model=PlanRecord, **document_route(409, body=NewPlan))
async def create_plan(
    context: CurrentOperator, new: Annotated[NewPlan, Depends(json_body(NewPlan))]
) -> Response:
    """Create a plan."""
    plan = await plans.create_plan(context.database, context.operator, new.name, new.limits)
    return json_result(plan, status=201)


@router.get("/{plan}", response_model=PlanRecord, **document_route())
async def show_plan(context: CurrentOperator, plan: PathName) -> Response:
    """Show a plan."""
    return json_result(await plans.show_plan(context.database, plan))


@router.put("/{plan}/limits", response_model=PlanRecord, **document_route(409, body=LimitsOfPlan))
async def set_plan_limits(
    context: CurrentOperator,
    plan: PathName,
    change: Annotated[LimitsOfPlan, Depends(json_body(LimitsOfPlan))],
) -> Response:
    """Replace the limits of a plan; they apply to all tenants on the plan at once."""
    changed = await plans.set_plan_limits(context.database, context.operator, plan, change.limits)
    return json_result(changed)


@router.delete("/{plan}", status_code=204, **document_route(409))
async def delete_plan(context: CurrentOperator, plan: PathName) -> Response:
    """Delete a plan; it must not have any tenants."""
    await plans.delete_plan(context.database, context.operator, plan)
    return Response(status_code=204)
