"""JSON responses, and the outcome of a request for its log line and its metrics."""

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
    """The outcome of a request in one word, for logs and metrics; empty means its HTTP status."""

    outcome: str = ""


def json_response(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with `body`; orjson is ten times faster than FastAPI's own encoder."""
    return Response(orjson.dumps(body), status, headers, _MEDIA_TYPE)


def json_result(
    result: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with the result of an operation, decimals and UUIDs written as text."""
    return Response(encode_json(result), status, headers, _MEDIA_TYPE)


def note_outcome(request: Request, outcome: str) -> None:
    """Set the outcome of a request for `AccessLogMiddleware`; without it, do nothing."""
    trace = request.scope.get(TRACE)
    if isinstance(trace, RequestTrace):
        trace.outcome = outcome
