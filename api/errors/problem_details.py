"""One problem as an answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.body.json_response import note_outcome
from api.errors.problem_errors import FieldProblem

MEDIA_TYPE: Final = "application/problem+json"
TITLES: Final = {
    400: "The body cannot be read",
    401: "No key that works here",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict with what is there",
    413: "The body is too large",
    415: "The content type is not supported",
    422: "Some values cannot be taken",
    429: "Too many requests for now",
    500: "Internal error",
    503: "Unavailable for the moment",
}


def pointer(*steps: str | int) -> str:
    """Give the place of a field in a body: a JSON pointer in a URI fragment, RFC 6901."""
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "#" + "".join(f"/{quote(step, errors='replace')}" for step in escaped)


def problem_answer(
    path: str,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Give the answer that tells of one problem with a request to `path`."""
    body: dict[str, Any] = {
        "type": f"urn:infill:problem:{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "instance": quote(path),
    }
    if errors:
        body["errors"] = errors
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def tell(request: Request, status: int, code: str, detail: str, **more: Any) -> Response:
    """Give the same for a request at hand, and note how it came out."""
    note_outcome(request, code)
    return problem_answer(request.url.path, status, code, detail, **more)
