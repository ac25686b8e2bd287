"""Error responses as problem details (RFC 9457), for the native API and the admin API."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.responses import Response

from api.errors.api_error import ApiError, FieldError

MEDIA_TYPE: Final = "application/problem+json"
TITLES: Final = {
    400: "The body cannot be read",
    401: "Missing or invalid key",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict with the current state",
    413: "The body is too large",
    415: "The content type is not supported",
    422: "Some values are invalid",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
}


def render_problem(path: str, error: ApiError) -> Response:
    """Return the `application/problem+json` response for `error`; `path` is the request's path.

    In the JSON body, `type` is `urn:infill:problem:` plus the error's code, `detail` is the
    error's message and tip, and `errors` has one entry per invalid field.
    """
    body: dict[str, Any] = {
        "type": f"urn:infill:problem:{error.code}",
        "title": TITLES.get(error.status) or HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message if error.tip is None else f"{error.message} {error.tip}",
        "instance": quote(path),
    }
    if error.field_errors:
        body["errors"] = [_field_problem(field_error) for field_error in error.field_errors]
    return Response(orjson.dumps(body), error.status, _headers(error), MEDIA_TYPE)


def _headers(error: ApiError) -> Mapping[str, str]:
    if error.status == HTTPStatus.UNAUTHORIZED:
        return {**error.headers, "www-authenticate": "Bearer"}  # RFC 9110 requires it with 401
    return error.headers


def _field_problem(error: FieldError) -> dict[str, str]:
    if error.source == "parameter":
        return {"parameter": str(error.path[-1]), "detail": error.detail}
    return {"pointer": _json_pointer(error.path), "detail": error.detail}


def _json_pointer(path: tuple[str | int, ...]) -> str:
    """Return the path of a body field as a JSON pointer in URI fragment form (RFC 6901)."""
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "#" + "".join(f"/{quote(step, errors='replace')}" for step in escaped)
