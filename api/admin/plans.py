"""Plans over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.admin.dependencies import Open, document
from api.body.json_documents import Document
from api.body.query_parameters import Paged
from api.body.rendering import told
from api.errors.dialects import ADMIN
from api.errors.openapi import described
from common.operations import plans
from common.operations.paging import Listed
from common.postgres.repositories.tenants.plans import PlanRecord

router = APIRouter(prefix=f"{ADMIN}/plans", tags=["admin: plans"])


class NewPlan(Document):
    """A plan to be made; without limits it has none."""

    name: str
    limits: dict[str, Any] = Field({}, examples=[{"requests_per_minute": 600, "max_running": 4}])


class LimitsOfPlan(Document):
    """The limits a plan is to have."""

    limits: dict[str, Any] = Field(examples=[{"requests_per_minute": 600, "max_running": 4}])


@router.get("", response_model=Listed[PlanRecord], **described())
async def list_plans(admitted: Open, asked: Paged) -> Response:
    """List plans, oldest first."""
    return told(await plans.list_plans(admitted.database, asked.page))


@router.post("", status_code=201, response_model=PlanRecord, **described(409, body=NewPlan))
async def create_plan(
    admitted: Open, new: Annotated[NewPlan, Depends(document(NewPlan))]
) -> Response:
    """Make a plan."""
    made = await plans.create_plan(admitted.database, admitted.operator, new.name, new.limits)
    return told(made, status=201)


@router.get("/{plan}", response_model=PlanRecord, **described())
async def show_plan(admitted: Open, plan: str) -> Response:
    """Show a plan."""
    return told(await plans.show_plan(admitted.database, plan))


@router.put("/{plan}/limits", response_model=PlanRecord, **described(409, body=LimitsOfPlan))
async def set_plan_limits(
    admitted: Open, plan: str, wanted: Annotated[LimitsOfPlan, Depends(document(LimitsOfPlan))]
) -> Response:
    """Give a plan other limits, in place of those it had; they hold at once for its tenants."""
    changed = await plans.set_plan_limits(admitted.database, admitted.operator, plan, wanted.limits)
    return told(changed)


@router.delete("/{plan}", status_code=204, **described(409))
async def delete_plan(admitted: Open, plan: str) -> Response:
    """Delete a plan that no tenant is on."""
    await plans.delete_plan(admitted.database, admitted.operator, plan)
    return Response(status_code=204)
