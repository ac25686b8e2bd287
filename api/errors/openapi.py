"""OpenAPI documentation of routes whose errors are problem details."""

from typing import Any, Final

from api.body.json_documents import JsonDocument
from api.documentation.headers import ERROR_HEADERS
from api.errors.problem_details import MEDIA_TYPE, TITLES

_FIELD_ERROR: Final = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "JSON pointer to the field in the body, such as `#/limits/max_running`.",
        },
        "parameter": {
            "type": "string",
            "description": "Name of the parameter, where it is not a field of the body.",
        },
        "detail": {"type": "string", "description": "What is wrong, or what would be right."},
    },
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "`urn:infill:problem:` and a stable code."},
        "title": {"type": "string", "description": "The meaning of the HTTP status."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong with this request."},
        "instance": {"type": "string", "description": "The path of the request."},
        "errors": {"type": "array", "items": _FIELD_ERROR},
    },
}
_PROBLEM_REFERENCE: Final = {
    "$ref": "#/components/schemas/Problem",
    # `api.documentation.document` moves it to the components.
    "$defs": {"Problem": _PROBLEM},
}
# Statuses that any route can respond with; `document_route` adds the others of one route.
_OF_EVERY_ROUTE: Final = (401, 404, 422, 503)
_OF_A_BODY: Final = (400, 413, 415)


def document_route(
    *statuses: int, body: type[JsonDocument] | None = None, media_type: str | None = None
) -> dict[str, Any]:
    """Return the OpenAPI documentation of a route, as keyword arguments for its decorator.

    `statuses` are error statuses in addition to those common to all routes, `body` is the model of
    the JSON request body, and `media_type` is a response type other than JSON.
    """
    of_body = () if body is None else _OF_A_BODY
    responses: dict[int, Any] = {
        status: _document_problem(status)
        for status in sorted({*_OF_EVERY_ROUTE, *of_body, *statuses})
    }
    if media_type is not None:
        responses[200] = {"content": {media_type: {"schema": {"type": "string"}}}}
    documentation: dict[str, Any] = {"responses": responses}
    if body is not None:
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        content = {"application/json": {"schema": schema}}
        required = any(field.is_required() for field in body.model_fields.values())
        documentation["openapi_extra"] = {"requestBody": {"required": required, "content": content}}
    return documentation


def _document_problem(status: int) -> dict[str, Any]:
    return {
        "description": TITLES[status],
        "headers": ERROR_HEADERS.get(status, {}),
        "content": {MEDIA_TYPE: {"schema": _PROBLEM_REFERENCE}},
    }
