"""Error responses in the format of the OpenAI API.

Clients repeat a request after 408, 409, 429 and 5xx, so every error of a request is 400. The header
`x-should-retry`, which the official clients obey, prevents repetitions that cannot succeed.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from api.body.json_response import json_response
from api.errors.api_error import ApiError, CreditsSpentError, FieldError, InvalidFieldsError
from common.domain.record import JobRecord

RETRY: Final = {"x-should-retry": "true"}
NO_RETRY: Final = {"x-should-retry": "false"}
_KEPT: Final = frozenset({401, 404, 405, 429})
_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500
# Codes of jobs that failed because of the request, or that the tenant canceled.
_CALLERS_FAULTS: Final = frozenset(
    {
        "address_not_allowed",
        "canceled",
        "fetch_failed",
        "fetch_rejected",
        "invalid_image",
        "unsupported_request",
    }
)
_CODES: Final = {
    "wrong_api_key": "invalid_api_key",
    "rate_exceeded": "rate_limit_exceeded",
    "credits_spent": "insufficient_quota",
    "not_found": "not_found",
}
# A worker names the inputs by the names of the order.
_PARAMETERS: Final = {
    "init_image": "image",
    "own_mask": "image",
    "alpha_mask": "mask",
    "mask_image": "mask",
}


class InvalidParameterError(InvalidFieldsError):
    """A parameter is invalid; `code` is the code that the response contains."""

    def __init__(self, parameter: str, message: str, *, code: str = "invalid_value") -> None:
        super().__init__([FieldError((parameter,), message)])
        self.code = code


class JobFailedError(ApiError):
    """The job of the request has failed, or was canceled: 400 if the request is why, else 500.

    The job has used up its attempts, so a client that repeats the request would only repeat them.
    """

    def __init__(self, job: JobRecord, headers: Mapping[str, str]) -> None:
        code = job.error_code or "unknown"
        message = job.error_message or "The job failed for a reason that was not recorded."
        field, colon, reason = message.partition(": ")
        parameter = _PARAMETERS.get(field) if colon else None
        detail = message if parameter is None else f"{parameter}: {reason}"
        is_callers = code in _CALLERS_FAULTS
        super().__init__(
            detail,
            code=code,
            status=_BAD_REQUEST if is_callers else _SERVER_ERROR,
            headers={**headers, **NO_RETRY},
        )
        self.parameter = parameter


def render_error(_path: str, error: ApiError) -> Response:
    """Return the response to a request that failed with `error`."""
    keeps_status = error.status in _KEPT or error.status >= _SERVER_ERROR
    status = error.status if keeps_status else _BAD_REQUEST
    headers = dict(error.headers)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, CreditsSpentError):
        headers |= NO_RETRY  # the credits return next month
    return json_response(error_body(error), status=status, headers=headers)


def error_body(error: ApiError) -> dict[str, Any]:
    """Return the JSON body of an error: message, type, parameter and code."""
    parameter = error.parameter if isinstance(error, JobFailedError) else None
    message = error.message if error.tip is None else f"{error.message} {error.tip}"
    if error.field_errors:
        first = error.field_errors[0]
        parameter = ".".join(map(str, first.path))
        message = " ".join(field.detail for field in error.field_errors)
    code = _CODES.get(error.code, error.code)
    kind = "invalid_request_error"
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "insufficient_quota" if code == "insufficient_quota" else "rate_limit_error"
    elif error.status >= _SERVER_ERROR:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}
