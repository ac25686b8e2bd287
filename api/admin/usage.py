"""Admin route for the usage report, as JSON or CSV."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from api.admin.dependencies import PREFIX, CurrentOperator
from api.body.json_response import json_result
from api.body.query_parameters import Parameters
from api.errors.openapi import document_route
from common.operations import usage
from common.operations.paging import Listed

CSV: Final = "text/csv"

router = APIRouter(prefix=f"{PREFIX}/usage", tags=["admin: usage"])


class Format(StrEnum):
    """The format of the usage report."""

    JSON = "json"
    CSV = "csv"


class UsageParameters(Parameters):
    """Query parameters of the usage report: first and last day (inclusive, UTC), tenant, format."""

    since: date
    until: date
    tenant: str | None = None
    format: Format | None = None


@router.get("", response_model=Listed[usage.UsageLine], **document_route(media_type=CSV))
async def report_usage(
    request: Request, context: CurrentOperator, query: Annotated[UsageParameters, Query()]
) -> Response:
    """Report usage per tenant, day and model as JSON or CSV (`format=csv` or Accept header)."""
    lines = await usage.report_usage(
        context.database, tenant=query.tenant, since=query.since, until=query.until
    )
    if (query.format or _accepted(request)) is Format.CSV:
        return Response(usage.to_csv(lines), media_type=CSV)
    return json_result(Listed(lines))


def _accepted(request: Request) -> Format:
    return Format.CSV if CSV in request.headers.get("accept", "") else Format.JSON
