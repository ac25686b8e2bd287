"""Error responses in the format of the hosted Stable Diffusion API v3."""

from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from api.body.json_response import json_response
from api.errors.api_error import (
    ApiError,
    CreditsSpentError,
    OverLimitError,
    QueueFullError,
    UnavailableError,
)
from common.domain.errors import pluralize
from common.domain.generation import Endpoint

# v3 clients expect 200 with `status: error`; only these errors of the transport keep their status.
_NO_ROUTE: Final = frozenset({404, 405})
_KEPT_STATUSES: Final = _NO_ROUTE | {413, 415}
_FIRST_SERVER_ERROR: Final = 500
# The hosted service's sentences by error code; our own message becomes the tip.
_MESSAGES: Final = {
    "wrong_api_key": "Invalid Api Key",
    "malformed_body": "Invalid API Request",
}
_TIPS: Final = {
    "wrong_api_key": "Send your API key as the field `key`, as the header `key`, "
    "or as `Authorization: Bearer …`. Keys start with `inf_`.",
    "body_too_large": "Send large images as URLs instead of base64.",
}
# Paths whose requests make a job.
_SUBMITTING: Final = frozenset(f"/api/v3/{endpoint}" for endpoint in Endpoint)
_SUBMIT_AGAIN: Final = (
    "Retry in a few seconds. If the first request had an `Idempotency-Key`, repeat it with the "
    "same key: if the first request created a job, that job is returned instead of a second one."
)


def error_body(message: Any, **extra: Any) -> dict[str, Any]:
    """Return the JSON body of an error; `messege` is the hosted API's spelling of `message`."""
    return {"status": "error", "message": message, "messege": message, **extra}


def render_error(path: str, error: ApiError) -> Response:
    """Return the v3 response to a request that failed with `error`."""
    keeps_status = error.status in _KEPT_STATUSES or error.status >= _FIRST_SERVER_ERROR
    status = error.status if keeps_status else 200
    return json_response(_body(path, error), status=status, headers=error.headers)


def _body(path: str, error: ApiError) -> dict[str, Any]:
    if error.field_errors:
        fields: dict[str, list[str]] = {}
        for field_error in error.field_errors:
            name = ".".join(map(str, field_error.path))
            fields.setdefault(name, []).append(field_error.detail)
        return error_body(fields)
    if isinstance(error, OverLimitError):
        return error_body(_limit_message(error), tips=error.message)  # hosted spelling
    if error.status in _NO_ROUTE:
        return error_body(HTTPStatus(error.status).phrase, tip=error.message)
    if error.code in _MESSAGES:
        advice = error.tip or _TIPS.get(error.code, error.message)
        return error_body(_MESSAGES[error.code], tip=advice)
    tip = _TIPS.get(error.code, error.tip)
    if isinstance(error, UnavailableError) and path.removesuffix("/") in _SUBMITTING:
        tip = _SUBMIT_AGAIN
    return error_body(error.message, **({} if tip is None else {"tip": tip}))


def _limit_message(error: OverLimitError) -> str:
    """Return the hosted API's message for a reached limit; only rate limits omit the maximum."""
    match error:
        case QueueFullError():
            allowed = f"{pluralize(error.rate_limit.quota, 'queued request')} allowed"
        case CreditsSpentError():
            allowed = f"{pluralize(error.quota, 'credit')} a month allowed"
        case _:
            return "Rate limit exceeded"
    return f"Rate limit exceeded. Maximum {allowed}."
