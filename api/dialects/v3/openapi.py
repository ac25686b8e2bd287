"""OpenAPI documentation of v3: request bodies in three formats, and example responses."""

from typing import Any, Final

from api.dialects.v3.errors import error_body
from api.dialects.v3.response_schemas import JOB, LOAD_OR_ERROR, one_of
from api.dialects.v3.schemas import GenerationBody, ImageToImageBody, InpaintBody, TextToImageBody
from api.documentation.headers import ERROR_HEADERS
from api.jobs.eta import TIP
from common.dialects.v3 import failed_body

SAMPLES: Final = (
    "https://raw.githubusercontent.com/CompVis/stable-diffusion/main/data/inpainting_examples/"
)
INIT_IMAGE: Final = SAMPLES + "overture-creations-5sI6fQgYIuo.png"
MASK_IMAGE: Final = SAMPLES + "overture-creations-5sI6fQgYIuo_mask.png"
KEY: Final = {"key": "inf_…"}
PREFIX: Final = "0b9ee8c2-6a5f-4c0e-9d7b-3a52f6f1c2d4"
IMAGE: Final = f"https://images.example.com/1/generations/{PREFIX}-1-0.png"

_GENERATION: Final[dict[str, Any]] = {
    **KEY,
    "model_id": None,
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "width": "512",
    "height": "512",
    "samples": "1",
    "scheduler": "DPM++ 2M Karras",
    "num_inference_steps": "30",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "guidance_scale": 7.5,
    "seed": None,
    "webhook": None,
    "track_id": None,
    "priority": 0,
}
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "inpaint": {
        **_GENERATION,
        "init_image": INIT_IMAGE,
        "mask_image": MASK_IMAGE,
        "mask_invert": "no",
        "mask_grow": 0,
        "mask_blur": 0,
        "mask_padding": None,
        "strength": 0.7,
        "base64": "no",
    },
    "img2img": {**_GENERATION, "init_image": INIT_IMAGE, "strength": 0.7, "base64": "no"},
    "text2img": {**_GENERATION, "panorama": "no", "upscale": "no", "embeddings_model": None},
    "fetch": KEY,
    "system_load": KEY,
}
BODIES: Final[dict[str, type[GenerationBody]]] = {
    "inpaint": InpaintBody,
    "img2img": ImageToImageBody,
    "text2img": TextToImageBody,
}

_META: Final = {
    "H": 512,
    "W": 512,
    "enable_attention_slicing": "false",
    "file_prefix": PREFIX,
    "guidance_scale": 7.5,
    "init_image": INIT_IMAGE,
    "mask_image": MASK_IMAGE,
    "model": "sd15-inpainting",
    "n_samples": 1,
    "negative_prompt": "blurry, out of focus",
    "outdir": "out",
    "prompt": "a cat sitting on a bench, intimate animal portrait, golden backlight",
    "revision": "main",
    "safetychecker": "no",
    "scheduler": "DPM++ 2M Karras",
    "seed": 3163825381,
    "steps": 30,
    "strength": 0.7,
    "vae": "sd15-inpainting",
}
_SUCCESS: Final = {
    "status": "success",
    "generationTime": 1.91,
    "id": 12384052,
    "output": [IMAGE],
    "proxy_links": [IMAGE],
    "nsfw_content_detected": False,
    "webhook_status": "",
    "meta": _META,
}
_LATER: Final = "Try to fetch request after seconds estimated"
_PROCESSING: Final = {
    "status": "processing",
    "tip": TIP,
    "eta": 12,
    "messege": _LATER,
    "message": _LATER,
    "fetch_result": "https://infill.example.com/api/v3/fetch/12384052",
    "id": 12384052,
    "output": [],
    "future_links": [IMAGE],
    "webhook_status": "pending",
    "meta": _META,
    "progress": {"step": 7, "steps": 30},
}


_JOB_RESPONSES: Final = {
    "success": _SUCCESS,
    "processing": _PROCESSING,
    "failed": failed_body(12384052, "could not fetch the image: HTTP 404"),
}
_BAD_KEY: Final = {"bad key": error_body("Invalid Api Key", tip="Send your API key …")}
_BAD_FIELDS: Final = {
    "bad fields": error_body({"prompt": ["The prompt field is required."]}),
    "bad JSON": error_body(
        "Invalid API Request", tip="There is a trailing comma at line 18, column 19: …"
    ),
}
_OVER_LIMITS: Final = {
    "too many requests": error_body(
        "Rate limit exceeded", tips="Your plan allows 60 requests per minute. Try again in 1 s."
    ),
    "too many queued jobs": error_body(
        "Rate limit exceeded. Maximum 50 queued requests allowed.",
        tips="Your plan allows at most 50 queued jobs, and you have reached that limit. Wait …",
    ),
    "credits spent": error_body(
        "Rate limit exceeded. Maximum 5000 credits a month allowed.",
        tips="This job costs 5.505024 credits, but you have 3 of this month's 5000 left; …",
    ),
}
RESPONSES: Final[dict[str, dict[str, Any]]] = {
    **{name: {**_JOB_RESPONSES, **_BAD_FIELDS, **_OVER_LIMITS, **_BAD_KEY} for name in BODIES},
    "fetch": {**_JOB_RESPONSES, "not found": failed_body(0, "Request not found"), **_BAD_KEY},
    "system_load": {"load": {"queue_num": 3, "queue_time": 6, "status": "ok"}, **_BAD_KEY},
}
_CODES: Final = {
    413: "The body is too large.",
    415: "The content type is none of the three above, nor `text/plain` with JSON.",
    503: "Postgres or the image store cannot be reached; see Retry-After.",
}


# A key in the body needs no security scheme.
_SECURITY: Final[list[dict[str, list[str]]]] = [{"api_key": []}, {}]


# Numbers and switches as text; empty text and `null` mean that the field is not set.
_TEXT_PATTERNS: Final[dict[Any, str]] = {
    "boolean": r"^\s*([Yy][Ee][Ss]|[Nn][Oo]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|1|0|null|)\s*$",
    "integer": r"^\s*(-?[0-9]+|null|)\s*$",
    "number": r"^\s*(-?[0-9]+(\.[0-9]+)?|null|)\s*$",
}


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if name in BODIES:
        schema = BODIES[name].model_json_schema()
    key = {"type": "string", "description": "API key"}
    required = schema.get("required", ())
    fields = {
        field: _as_clients_send_it(rules, is_required=field in required)
        for field, rules in schema.get("properties", {}).items()
    }
    return {**schema, "properties": {"key": key, **fields}}


def _as_clients_send_it(rules: dict[str, Any], *, is_required: bool) -> dict[str, Any]:
    """Return the schema of a field that may also be sent as text, and as null if it is optional."""
    if "anyOf" in rules:
        if {"type": "string"} in rules["anyOf"]:
            return rules
        kinds = [_as_clients_send_it(kind, is_required=True) for kind in rules["anyOf"]]
        return {**rules, "anyOf": kinds}
    kind = rules.get("type")
    types = [kind, *(("string",) if kind in _TEXT_PATTERNS else ())]
    types += [] if is_required else ["null"]
    pattern = {"pattern": _TEXT_PATTERNS[kind]} if kind in _TEXT_PATTERNS else {}
    return {**rules, **pattern, "type": types if len(types) > 1 else kind}


def _headers(name: str) -> dict[str, Any]:
    """Return the rate limit headers; only routes that create jobs respond with them."""
    return ERROR_HEADERS[429] if name in BODIES else {}


def _document_error(code: int) -> dict[str, Any]:
    return {
        "description": _CODES[code],
        "headers": ERROR_HEADERS.get(code, {}),
        "content": {"application/json": {"schema": one_of("V3Error")}},
    }


def _query_parameters(name: str) -> list[dict[str, Any]]:
    """Return the parameters of the query string: the fields of the body, except for the key."""
    if name not in BODIES:
        return []
    fields = {
        field: rules for field, rules in _schema(name)["properties"].items() if field != "key"
    }
    return [
        {
            "name": "fields",
            "in": "query",
            "description": "All fields of the body but the key; a field in the body counts more.",
            "style": "form",
            "explode": True,
            "schema": {"type": "object", "properties": fields},
        }
    ]


def _describe_request(name: str) -> dict[str, Any]:
    body = {"schema": _schema(name), "example": REQUESTS[name]}
    return {
        "required": name in BODIES,
        "description": "JSON may also be declared as `text/plain`.",
        "content": {
            "application/json": body,
            "application/x-www-form-urlencoded": body,
            "multipart/form-data": body,
        },
    }


def document_route(name: str, *, has_body: bool = True) -> dict[str, Any]:
    """Return the OpenAPI documentation of a v3 route, as keyword arguments for its decorator."""
    schema = one_of(*(LOAD_OR_ERROR if name == "system_load" else JOB))
    examples = {title: {"value": value} for title, value in RESPONSES[name].items()}
    return {
        "openapi_extra": {
            "security": _SECURITY,
            "parameters": _query_parameters(name),
            **({"requestBody": _describe_request(name)} if has_body else {}),
        },
        "responses": {
            200: {
                "description": "The result; its `status` says which kind it is.",
                "headers": _headers(name),
                "content": {"application/json": {"schema": schema, "examples": examples}},
            },
            **{code: _document_error(code) for code in _CODES},
        },
    }
