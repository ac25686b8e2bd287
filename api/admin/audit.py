"""The audit over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.admin.answer import told
from api.admin.documentation import described
from api.admin.entrance import Open
from api.admin.parameters import PageParameters
from api.admin.problems import PREFIX
from common.operations import audit
from common.operations.paging import Listed
from common.repositories.audit import AuditRecord

router = APIRouter(prefix=f"{PREFIX}/audit", tags=["admin: audit"])


class AuditParameters(PageParameters):
    """Which entries are wanted."""

    tenant: str | None = Field(None, pattern=r"^[^\x00]*$")


@router.get("", response_model=Listed[AuditRecord], **described())
async def list_audit(admitted: Open, asked: Annotated[AuditParameters, Query()]) -> Response:
    """List what operators changed, latest first; of a tenant's name, also one long gone."""
    listed = await audit.list_audit(admitted.database, asked.page, tenant=asked.tenant)
    return told(listed)
