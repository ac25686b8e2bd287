"""The hierarchy of errors that callers receive; each carries data and is independent of dialects.

ApiError                        any error: code, HTTP status, message, tip, fields, headers
├── WrongKeyError                 401: API key or admin key missing or not valid
│   └── KeyInQueryError             401: the only key is in the query string, which is not allowed
├── MalformedBodyError            400: malformed JSON or multipart, or an incomplete body
├── BodyTooLargeError             413: the body exceeds the size limit
├── UnsupportedMediaTypeError     415: the route does not read this content type
├── UnsupportedContentEncodingError  415: the body is compressed with something else than gzip
├── InvalidFieldsError            422: names every invalid field of the request
├── TooManyAtOnceError            429: too many slow requests of this kind are running
├── OverLimitError                429: a limit of the tenant's plan is reached
│   ├── RateExceededError           requests per minute
│   ├── QueueFullError              waiting jobs
│   └── CreditsSpentError           credits per month
└── UnavailableError              503: Postgres or the image store cannot be reached
    └── BodyBudgetSpentError        503: the request bodies in progress occupy the whole budget

`api.errors.handlers` turns every other exception into one of these. Each dialect has a renderer,
which builds the JSON and may change the HTTP status.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from starlette.responses import Response

from api.limits.headers import RateLimitSnapshot
from common.domain.api_key import KeyKind
from common.domain.errors import pluralize

# Seconds a caller is asked to wait where nothing better is known.
RETRY_SECONDS: Final = 2
RETRY_AFTER: Final[Mapping[str, str]] = {"retry-after": str(RETRY_SECONDS)}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: its path in the body, or its parameter name, and what is wrong with it.

    Parameters are parts of the path or the query string, and headers.
    """

    path: tuple[str | int, ...]
    detail: str
    source: Literal["body", "parameter"] = "body"


class ApiError(Exception):
    """An error response: HTTP status, stable code, message for the caller, and headers."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        tip: str | None = None,
        field_errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.tip = tip
        self.field_errors = tuple(field_errors)
        self.headers = headers or {}


# Renders an error as the response to a request for a path.
ErrorRenderer = Callable[[str, ApiError], Response]


class WrongKeyError(ApiError):
    """The API key or admin key of the request is missing or not valid."""

    def __init__(self, kind: KeyKind = KeyKind.API) -> None:
        name = "admin" if kind is KeyKind.ADMIN else "API"
        super().__init__(
            f"Send a valid {name} key as `Authorization: Bearer …`. Keys start with `{kind}`.",
            code=f"wrong_{name.lower()}_key",
            status=401,
        )


class KeyInQueryError(WrongKeyError):
    """No key of the request is valid, and one in its query string was not read."""

    def __init__(self) -> None:
        super().__init__()
        self.tip = (
            "The key in the query string was not read, because proxies and browsers record URLs. "
            "Send it as the field `key` in the body, as the header `key`, or as `Authorization: "
            "Bearer …`. Only the operator can allow keys in query strings "
            "(INFILL_ALLOW_KEY_IN_QUERY)."
        )


class MalformedBodyError(ApiError):
    """The request body cannot be parsed; the message names the position and the reason."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="malformed_body", status=400)


class BodyTooLargeError(ApiError):
    """The request body is larger than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The request body is larger than {limit} bytes.", code="body_too_large", status=413
        )


class UnsupportedMediaTypeError(ApiError):
    """The route cannot read the content type of the request body."""

    def __init__(self, *supported: str) -> None:
        *others, last = supported
        names = f"{', '.join(others)} or {last}" if others else last
        super().__init__(
            "This content type is not supported.",
            code="unsupported_media_type",
            status=415,
            tip=f"Send {names}.",
        )


class UnsupportedContentEncodingError(ApiError):
    """The request body is compressed with a content coding that the gateway cannot read."""

    def __init__(self) -> None:
        super().__init__(
            "This content encoding is not supported.",
            code="unsupported_content_encoding",
            status=415,
            tip="Send the body compressed with gzip, or uncompressed.",
            headers={"accept-encoding": "gzip, identity"},  # RFC 9110, section 12.5.3
        )


class InvalidFieldsError(ApiError):
    """One or more fields of the request are invalid; the error names all of them."""

    def __init__(self, field_errors: Sequence[FieldError]) -> None:
        super().__init__(
            "Some values are invalid; `errors` says what is wrong with each.",
            code="invalid_fields",
            status=422,
            field_errors=field_errors,
        )


class TooManyAtOnceError(ApiError):
    """The tenant's or the gateway's limit on concurrent slow requests has been reached."""

    def __init__(self, *, per_tenant: int, in_all: int) -> None:
        super().__init__(
            f"Too many of these requests are running. A tenant can run {per_tenant} at once, and "
            f"all tenants together {in_all}. Wait until one finishes, then retry.",
            code="too_many_at_once",
            status=429,
            headers=RETRY_AFTER,
        )


class OverLimitError(ApiError):
    """A limit of the tenant's plan has been reached; `rate_limit` is its state and reset time."""

    def __init__(self, message: str, *, code: str, rate_limit: RateLimitSnapshot) -> None:
        super().__init__(
            message,
            code=code,
            status=429,
            headers={"retry-after": str(rate_limit.seconds), **rate_limit.headers},
        )
        self.rate_limit = rate_limit


class RateExceededError(OverLimitError):
    """The tenant's limit of requests per minute has been reached."""

    def __init__(self, rate_limit: RateLimitSnapshot) -> None:
        super().__init__(
            f"Your plan allows {pluralize(rate_limit.quota, 'request')} per minute. "
            f"Try again in {rate_limit.seconds} s.",
            code="rate_exceeded",
            rate_limit=rate_limit,
        )


class QueueFullError(OverLimitError):
    """The tenant's limit of waiting jobs has been reached."""

    def __init__(self, rate_limit: RateLimitSnapshot) -> None:
        super().__init__(
            f"Your plan allows at most {pluralize(rate_limit.quota, 'queued job')}, and you have "
            "reached that limit. Wait until one of your jobs has started, which takes about "
            f"{rate_limit.seconds} s.",
            code="queue_full",
            rate_limit=rate_limit,
        )


class CreditsSpentError(OverLimitError):
    """The job would cost more credits than the tenant has left this month.

    `cost`, `left` and `quota` are credits (megapixel-steps), written as decimal numbers.
    """

    def __init__(self, rate_limit: RateLimitSnapshot, *, cost: str, left: str, quota: str) -> None:
        super().__init__(
            f"This job costs {pluralize(cost, 'credit')}, but you have {left} of this month's "
            f"{quota} left; your queued and running jobs count as spent. Request fewer pixels, "
            "steps or samples, or wait for the next month (UTC).",
            code="credits_spent",
            rate_limit=rate_limit,
        )
        self.quota = quota


class UnavailableError(ApiError):
    """Postgres or the image store cannot be reached; the caller should retry later."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(
            message,
            code=code,
            status=503,
            tip="Retry in a few seconds.",
            headers=RETRY_AFTER,
        )


class BodyBudgetSpentError(UnavailableError):
    """The request bodies in progress, of all senders or of this one, occupy the whole budget."""

    def __init__(self) -> None:
        super().__init__(
            "Too many large request bodies are being received.", code="body_budget_spent"
        )
