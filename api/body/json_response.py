"""JSON responses, and the outcome of a request as logged and counted in metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from common.operations.json_output import encode_json

TRACE: Final = "infill.trace"
_MEDIA_TYPE: Final = "application/json"


@dataclass(slots=True)
class RequestTrace:
    """Holds the one-word outcome of a request that logs and metrics report.

    If `outcome` is empty, they report the HTTP status instead.
    """

    outcome: str = ""


def json_response(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response encoded by orjson, which is ten times as fast as FastAPI's."""
    return Response(orjson.dumps(body), status, headers, _MEDIA_TYPE)


def json_result(
    result: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response for the result of a use case; decimals and UUIDs become strings."""
    return Response(encode_json(result), status, headers, _MEDIA_TYPE)


def note_outcome(request: Request, outcome: str) -> None:
    """Store the request's outcome for `AccessLogMiddleware`, if this middleware is installed."""
    trace = request.scope.get(TRACE)
    if isinstance(trace, RequestTrace):
        trace.outcome = outcome
