"""Admin route that lists the audit log."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator
from api.body.json_response import json_result
from api.body.query_parameters import PageParameters
from api.errors.openapi import document_route
from common.operations import audit
from common.operations.paging import Listed
from common.postgres.repositories.tenants.audit import AuditRecord

router = APIRouter(prefix=f"{PREFIX}/audit", tags=["admin: audit"])


class AuditParameters(PageParameters):
    """Query parameters of the audit log: paging, and optionally the name of one tenant."""

    tenant: str | None = Field(
        None, pattern=r"^[^\x00]*$", description="only changes to the tenant of this name"
    )


@router.get("", response_model=Listed[AuditRecord], **document_route())
async def list_audit(
    context: CurrentOperator, query: Annotated[AuditParameters, Query()]
) -> Response:
    """List changes made by operators, latest first; `tenant` may name a deleted tenant."""
    listed = await audit.list_audit(context.database, query.page, tenant=query.tenant)
    return json_result(listed)
