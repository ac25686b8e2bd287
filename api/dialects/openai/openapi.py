"""OpenAPI documentation of the OpenAI Images API."""

from typing import Any, Final

from api.dialects.openai.schemas import EditBody, GenerationBody
from api.documentation.headers import ERROR_HEADERS, RATE_LIMIT_HEADERS

_REFERENCE: Final = "#/components/schemas/{model}"
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 0}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"api_key": []}]
_MASK: Final = "transparent parts are repainted; of the size of the image"
_SOURCE: Final = {
    "type": "object",
    "required": ["image_url"],
    "properties": {
        "image_url": {"type": "string", "description": "an http or https URL, or a data: URI"}
    },
}
_FILE: Final = {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP"}


def _object(properties: dict[str, Any], *optional: str, **more: Any) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, **more}


def _define(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    # `api.documentation.document` moves the definition to the components.
    return {"$ref": f"#/components/schemas/{name}", "$defs": {name: schema}}


_ERROR: Final = _define(
    "OpenAIError",
    _object(
        {
            "error": _object(
                {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": {"type": ["string", "null"]},
                    "code": _TEXT,
                }
            )
        }
    ),
)
_DETAILS: Final = _object({"image_tokens": _NUMBER, "text_tokens": _NUMBER})
_IMAGES: Final = _define(
    "OpenAIImages",
    _object(
        {
            "created": _NUMBER,
            "data": {
                "type": "array",
                "items": _object({"b64_json": _TEXT}),
            },
            "background": {"const": "opaque"},
            "output_format": {"enum": ["png", "jpeg", "webp"]},
            "quality": {"enum": ["low", "medium", "high"]},
            "size": _TEXT,
            "usage": _object(
                {
                    "input_tokens": _NUMBER,
                    "input_tokens_details": _DETAILS,
                    "output_tokens": {**_NUMBER, "description": "credits, rounded up"},
                    "output_tokens_details": _DETAILS,
                    "total_tokens": _NUMBER,
                }
            ),
        }
    ),
)
_MODEL: Final = _define(
    "OpenAIModel",
    _object({"id": _TEXT, "object": {"const": "model"}, "created": _NUMBER, "owned_by": _TEXT}),
)
_MODELS: Final = _define(
    "OpenAIModels",
    _object({"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}}),
)

_PARAMETERS: Final[dict[str, Any]] = {
    "prompt": "a bench made of marble",
    "model": "gpt-image-1",
    "n": 1,
    "size": "auto",
    "quality": "low",
    "output_format": "png",
}
REQUESTS: Final[dict[type[GenerationBody], dict[str, Any]]] = {
    GenerationBody: {**_PARAMETERS, "seed": 7},
    EditBody: {
        **_PARAMETERS,
        "images": [{"image_url": "https://example.com/bench.png"}],
        "mask": {"image_url": "https://example.com/mask.png"},
        "input_fidelity": "high",
    },
}
_ERRORS: Final = {
    400: "The request is invalid, or its job failed because of its input.",
    401: "Missing or invalid API key.",
    404: "Not found.",
    429: "A limit of the plan is reached.",
    500: "The job failed, or the request because of an error in this service.",
    503: "Postgres or the image store cannot be reached; see Retry-After.",
    504: "The job did not end in time; see `x-should-retry`.",
}
_BAD: Final = {
    "error": {
        "message": "Invalid value for 'n': it must be a whole number from 1 to 10.",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_fields",
    }
}
EXAMPLE: Final = {
    "created": 1798761600,
    "data": [{"b64_json": "iVBORw0KGgo…"}],
    "background": "opaque",
    "output_format": "png",
    "quality": "low",
    "size": "512x512",
    "usage": {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"image_tokens": 4, "text_tokens": 0},
        "total_tokens": 4,
    },
}


def document_images(kind: type[GenerationBody]) -> dict[str, Any]:
    """Return the documentation of a route that returns images, as arguments for its decorator."""
    content: dict[str, Any] = {
        "application/json": {"schema": _json_schema(kind), "example": REQUESTS[kind]}
    }
    if kind is EditBody:
        content["multipart/form-data"] = {"schema": _multipart_schema()}
    success = {
        "description": "The images, or with `stream` server-sent events.",
        "headers": RATE_LIMIT_HEADERS,
        "content": {
            "application/json": {"schema": _IMAGES, "example": EXAMPLE},
            "text/event-stream": {"schema": _object({"event": _TEXT, "data": _TEXT})},
        },
    }
    return {
        "openapi_extra": {
            "security": _SECURITY,
            "requestBody": {"required": True, "content": content},
        },
        "responses": {200: success, **_document_errors(400, 401, 404, 429, 500, 503, 504)},
    }


def document_models(kind: str) -> dict[str, Any]:
    """Return the documentation of a route that describes one model or lists all."""
    schema = _MODELS if kind == "list" else _MODEL
    return {
        "openapi_extra": {"security": _SECURITY},
        "responses": {
            200: {"description": "Found.", "content": {"application/json": {"schema": schema}}},
            **_document_errors(401, 503, *(() if kind == "list" else (404,))),
        },
    }


def _document_errors(*statuses: int) -> dict[int, Any]:
    return {
        status: {
            "description": _ERRORS[status],
            "headers": ERROR_HEADERS.get(status, {}),
            "content": {
                "application/json": {
                    "schema": _ERROR,
                    **({"example": _BAD} if status == 400 else {}),  # noqa: PLR2004
                }
            },
        }
        for status in statuses
    }


def _json_schema(kind: type[GenerationBody]) -> dict[str, Any]:
    schema = kind.model_json_schema(ref_template=_REFERENCE)
    schema["title"] = f"OpenAI{kind.__name__}"
    if kind is EditBody:
        images = {"type": "array", "items": _SOURCE, "minItems": 1, "maxItems": 1}
        mask = {**_SOURCE, "description": _MASK}
        schema["properties"] = {"images": images, "mask": mask, **schema["properties"]}
        schema["required"] = ["images", *schema["required"]]
    return schema


def _multipart_schema() -> dict[str, Any]:
    schema = EditBody.model_json_schema(ref_template=_REFERENCE)
    schema["title"] = "OpenAIEditForm"
    mask = {**_FILE, "description": _MASK}
    schema["properties"] = {"image": _FILE, "mask": mask, **schema["properties"]}
    schema["required"] = ["image", *schema["required"]]
    return schema
