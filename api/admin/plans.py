"""Plans over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.body.json_documents import JsonDocument
from api.body.query_parameters import Paged
from api.body.rendering import json_result
from api.errors.openapi import document_route
from common.operations import plans
from common.operations.paging import Listed
from common.postgres.repositories.tenants.plans import PlanRecord

router = APIRouter(prefix=f"{PREFIX}/plans", tags=["admin: plans"])


class NewPlan(JsonDocument):
    """A plan to be made; without limits it has none."""

    name: str
    limits: dict[str, Any] = Field({}, examples=[{"requests_per_minute": 600, "max_running": 4}])


class LimitsOfPlan(JsonDocument):
    """The limits a plan is to have."""

    limits: dict[str, Any] = Field(examples=[{"requests_per_minute": 600, "max_running": 4}])


@router.get("", response_model=Listed[PlanRecord], **document_route())
async def list_plans(admitted: CurrentOperator, asked: Paged) -> Response:
    """List plans, oldest first."""
    return json_result(await plans.list_plans(admitted.database, asked.page))


@router.post("", status_code=201, response_model=PlanRecord, **document_route(409, body=NewPlan))
async def create_plan(
    admitted: CurrentOperator, new: Annotated[NewPlan, Depends(json_body(NewPlan))]
) -> Response:
    """Make a plan."""
    made = await plans.create_plan(admitted.database, admitted.operator, new.name, new.limits)
    return json_result(made, status=201)


@router.get("/{plan}", response_model=PlanRecord, **document_route())
async def show_plan(admitted: CurrentOperator, plan: str) -> Response:
    """Show a plan."""
    return json_result(await plans.show_plan(admitted.database, plan))


@router.put("/{plan}/limits", response_model=PlanRecord, **document_route(409, body=LimitsOfPlan))
async def set_plan_limits(
    admitted: CurrentOperator,
    plan: str,
    wanted: Annotated[LimitsOfPlan, Depends(json_body(LimitsOfPlan))],
) -> Response:
    """Give a plan other limits, in place of those it had; they hold at once for its tenants."""
    changed = await plans.set_plan_limits(admitted.database, admitted.operator, plan, wanted.limits)
    return json_result(changed)


@router.delete("/{plan}", status_code=204, **document_route(409))
async def delete_plan(admitted: CurrentOperator, plan: str) -> Response:
    """Delete a plan that no tenant is on."""
    await plans.delete_plan(admitted.database, admitted.operator, plan)
    return Response(status_code=204)
