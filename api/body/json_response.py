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
    """The outcome of a request as one word for logs and metrics; empty for the HTTP status."""

    outcome: str = ""


def json_response(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response, encoded by orjson: ten times faster than FastAPI's encoder."""
    return Response(orjson.dumps(body), status, headers, _MEDIA_TYPE)


def json_result(
    result: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response for the result of a use case; decimals and UUIDs become strings."""
    return Response(encode_json(result), status, headers, _MEDIA_TYPE)


def note_outcome(request: Request, outcome: str) -> None:
    """Store the request's outcome for `AccessLogMiddleware`; do nothing if that is not in use."""
    trace = request.scope.get(TRACE)
    if isinstance(trace, RequestTrace):
        trace.outcome = outcome
