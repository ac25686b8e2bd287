"""OpenAPI documentation of response headers."""

from typing import Any, Final

_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
RATE_LIMIT_HEADERS: Final[dict[str, Any]] = {
    "RateLimit-Policy": {
        "description": 'What is allowed, such as `"requests";q=60;w=60`: 60 in 60 seconds. '
        "Omitted if the plan has no such limit.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of it, such as `"requests";r=12;t=1`: 12, and more in a '
        "second.",
        "schema": {"type": "string"},
    },
}
# By the status of an error response.
ERROR_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "required": True,
            "description": "The authentication scheme.",
            "schema": {"type": "string", "const": "Bearer"},
        }
    },
    429: {**_RETRY_AFTER, **RATE_LIMIT_HEADERS},
    503: _RETRY_AFTER,
}
