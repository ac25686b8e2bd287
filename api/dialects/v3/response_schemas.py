"""JSON schemas of v3 responses: nearly all have the status 200, and `status` names the kind."""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_MISSPELLED: Final = {"type": "string", "description": "the same as `message`, as clients spell it"}
_JOB_ID: Final = {"type": "integer", "minimum": 1}
_META: Final = {"type": "object", "description": "the parameters of the generation"}
_WEBHOOK_STATUS: Final = {"enum": ["", "pending", "delivered", "retrying", "exhausted"]}


def _body(
    status: str, description: str, properties: dict[str, Any], *optional: str
) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": ["status", *(name for name in properties if name not in optional)],
        "properties": {"status": {"const": status}, **properties},
    }


SUCCESS: Final = _body(
    "success",
    "The job has succeeded. `message` is sent only if its images were deleted.",
    {
        "generationTime": {"type": "number", "minimum": 0, "description": "seconds"},
        "id": _JOB_ID,
        "output": {**_TEXTS, "description": "URLs of the images, or base64 text"},
        "proxy_links": _TEXTS,
        "nsfw_content_detected": {"type": "boolean"},
        "webhook_status": _WEBHOOK_STATUS,
        "meta": _META,
        "message": _TEXT,
        "messege": _MISSPELLED,
    },
    "message",
    "messege",
)
PROCESSING: Final = _body(
    "processing",
    "The job is waiting or running: fetch it after `eta` seconds.",
    {
        "tip": _TEXT,
        "eta": {"type": "integer", "minimum": 1, "description": "seconds"},
        "message": _TEXT,
        "messege": _MISSPELLED,
        "fetch_result": {"type": "string", "description": "URL at which to fetch the result"},
        "id": _JOB_ID,
        "output": {"type": "array", "maxItems": 0},
        "future_links": {**_TEXTS, "description": "URLs that the images will have"},
        "webhook_status": _WEBHOOK_STATUS,
        "meta": _META,
        "progress": {
            "type": "object",
            "required": ["step", "steps"],
            "properties": {"step": {"type": "integer"}, "steps": {"type": "integer"}},
        },
    },
    "progress",
)
FAILED: Final = _body(
    "failed",
    "The job has failed, or there is no such job (`id` 0).",
    {
        "id": {"type": "integer", "minimum": 0},
        "message": _TEXT,
        "messege": _MISSPELLED,
        "output": {"type": "array", "maxItems": 0},
    },
)
_ERROR_MESSAGE: Final = {
    "anyOf": [_TEXT, {"type": "object", "additionalProperties": {**_TEXTS, "minItems": 1}}],
    "description": "a sentence, or for each invalid field what would be right",
}
ERROR: Final = _body(
    "error",
    "The request was not accepted.",
    {"message": _ERROR_MESSAGE, "messege": _ERROR_MESSAGE, "tip": _TEXT, "tips": _TEXT},
    "tip",
    "tips",
)
LOAD: Final = _body(
    "ok",
    "The tenant's waiting jobs, and the seconds until a new job would start.",
    {
        "queue_num": {"type": "integer", "minimum": 0},
        "queue_time": {"type": "integer", "minimum": 0},
    },
)
_SCHEMAS: Final = {
    "V3Success": SUCCESS,
    "V3Processing": PROCESSING,
    "V3Failed": FAILED,
    "V3Error": ERROR,
    "V3Load": LOAD,
}
JOB: Final = ("V3Success", "V3Processing", "V3Failed", "V3Error")
LOAD_OR_ERROR: Final = ("V3Load", "V3Error")


def one_of(*names: str) -> dict[str, Any]:
    """Return the schema of a response body that is one of these, with their definitions."""
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    # `api.documentation.document` moves the definitions to the components.
    definitions = {"$defs": {name: _SCHEMAS[name] for name in names}}
    return {**definitions, **(references[0] if len(references) == 1 else {"oneOf": references})}
