"""The audit over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator
from api.body.query_parameters import PageParameters
from api.body.rendering import json_result
from api.errors.openapi import document_route
from common.operations import audit
from common.operations.paging import Listed
from common.postgres.repositories.tenants.audit import AuditRecord

router = APIRouter(prefix=f"{PREFIX}/audit", tags=["admin: audit"])


class AuditParameters(PageParameters):
    """Which entries are wanted."""

    tenant: str | None = Field(None, pattern=r"^[^\x00]*$")


@router.get("", response_model=Listed[AuditRecord], **document_route())
async def list_audit(
    admitted: CurrentOperator, asked: Annotated[AuditParameters, Query()]
) -> Response:
    """List what operators changed, latest first; of a tenant's name, also one long gone."""
    listed = await audit.list_audit(admitted.database, asked.page, tenant=asked.tenant)
    return json_result(listed)
