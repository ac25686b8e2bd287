"""What OpenAPI says of a route that tells problems: its body, its answer and its problems."""

from typing import Any, Final

from api.body.json_documents import JsonDocument
from api.errors.problem_details import MEDIA_TYPE, TITLES

_FIELD: Final = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "pointer": {"type": "string", "description": "Place in the body, `#/limits/max_running`."},
        "parameter": {"type": "string", "description": "Name of a parameter of the address."},
        "detail": {"type": "string", "description": "What would be right."},
    },
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "`urn:infill:problem:` and a stable code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {"type": "array", "items": _FIELD},
    },
}
# Any of them can come of any request; what else, the route says.
_ALWAYS: Final = (401, 404, 422, 503)
_OF_A_BODY: Final = (400, 413, 415)


def described(
    *codes: int, body: type[JsonDocument] | None = None, answers: str | None = None
) -> dict[str, Any]:
    """Give the documentation of a route, as arguments for its decorator.

    `codes` are problems beside those of every request; `answers` is a media type other than JSON.
    """
    of_body = () if body is None else _OF_A_BODY
    responses: dict[int, Any] = {
        code: {"description": TITLES[code], "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
        for code in sorted({*_ALWAYS, *of_body, *codes})
    }
    if answers is not None:
        responses[200] = {"content": {answers: {"schema": {"type": "string"}}}}
    told: dict[str, Any] = {"responses": responses}
    if body is not None:
        content = {"application/json": {"schema": body.model_json_schema()}}
        required = any(field.is_required() for field in body.model_fields.values())
        told["openapi_extra"] = {"requestBody": {"required": required, "content": content}}
    return told
