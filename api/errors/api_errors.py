"""Why the gateway turns a request away; each carries the answer its caller gets.

ApiError                HTTP 200 with `status` error, as v3 clients expect
├── InvalidKeyError           no API key, or none of ours
├── InvalidFieldsError        one sentence or more for every bad field
├── OverLimitError            the tenant's plan allows no more for now; says when it will
│   ├── RateExceededError       requests per minute
│   ├── QueueFullError          jobs that wait
│   └── CreditsSpentError       credits of the month
├── MalformedBodyError        the body cannot be read: broken JSON, broken multipart
├── BodyTooLargeError         413
└── UnsupportedMediaTypeError   415
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from api.limits.headers import RateLimitSnapshot
from common.domain.errors import InfillError, pluralize

FieldErrors = Mapping[str, Sequence[str]]


def error_body(message: Any, **extra: Any) -> dict[str, Any]:
    """Give the body of every error; `messege` is how the hosted service spells it."""
    return {"status": "error", "message": message, "messege": message, **extra}


class ApiError(InfillError):
    """Root of the tree: the request is turned away, and nothing was recorded."""

    code = "refused"
    http_status: ClassVar[int] = 200

    def __init__(self, message: str, *, tip: str | None = None) -> None:
        super().__init__(message)
        self.tip = tip

    def body(self) -> dict[str, Any]:
        """Give what the caller is answered."""
        return error_body(self.message, **({} if self.tip is None else {"tip": self.tip}))

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes along with the answer."""
        return {}


class InvalidKeyError(ApiError):
    """No API key came, or none that works here."""

    code = "invalid_key"

    def __init__(self) -> None:
        super().__init__(
            "Invalid Api Key",
            tip="Send your API key as the field `key`, as the header `key`, "
            "or as `Authorization: Bearer …`. Keys start with `inf_`.",
        )


class InvalidFieldsError(ApiError):
    """Some fields are not right; all of them are named at once."""

    code = "invalid_fields"

    def __init__(self, fields: FieldErrors) -> None:
        super().__init__(" ".join(sentence for told in fields.values() for sentence in told))
        self.fields = fields

    def body(self) -> dict[str, Any]:
        """Give one list of sentences per field."""
        return error_body(self.fields)


class OverLimitError(ApiError):
    """The tenant's plan allows no more for now: `standing` says of which, and until when."""

    code = "over_limit"

    def __init__(self, message: str, *, tips: str, standing: RateLimitSnapshot) -> None:
        super().__init__(message)
        self.tips = tips
        self.standing = standing

    def body(self) -> dict[str, Any]:
        """Give what the hosted service says; it spells `tips` here."""
        return error_body(self.message, tips=self.tips)

    @property
    def headers(self) -> Mapping[str, str]:
        """When to come again, in the two ways there are to say it."""
        return {"retry-after": str(self.standing.seconds), **self.standing.headers}


class RateExceededError(OverLimitError):
    """More requests in a minute than the plan allows."""

    code = "rate_exceeded"

    def __init__(self, standing: RateLimitSnapshot) -> None:
        super().__init__(
            "Rate limit exceeded",
            tips=f"Your plan allows {pluralize(standing.quota, 'request')} per minute. "
            f"Try again in {standing.seconds} s.",
            standing=standing,
        )


class QueueFullError(OverLimitError):
    """More waiting jobs than the plan allows."""

    code = "queue_full"

    def __init__(self, standing: RateLimitSnapshot) -> None:
        super().__init__(
            f"Rate limit exceeded. Maximum {pluralize(standing.quota, 'queued request')} allowed.",
            tips="Wait until one of your jobs has been started: "
            f"that takes about {standing.seconds} s.",
            standing=standing,
        )


class CreditsSpentError(OverLimitError):
    """The job would cost more credits than are left of the month's; all in megapixel-steps."""

    code = "credits_spent"

    def __init__(self, standing: RateLimitSnapshot, *, cost: str, left: str, quota: str) -> None:
        is_or_are = "is" if left == "1" else "are"
        super().__init__(
            f"Rate limit exceeded. Maximum {pluralize(quota, 'credit')} a month allowed.",
            tips=f"This job costs {pluralize(cost, 'credit')}, and {left} {is_or_are} left, "
            "waiting and running jobs counted in. Ask for fewer pixels, steps or samples, "
            "or wait for the next month (UTC).",
            standing=standing,
        )


class MalformedBodyError(ApiError):
    """The body cannot be read; the tip says where and why."""

    code = "malformed_body"

    def __init__(self, tip: str) -> None:
        super().__init__("Invalid API Request", tip=tip)


class BodyTooLargeError(ApiError):
    """The body is larger than we take."""

    code = "body_too_large"
    http_status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The request body is larger than {limit} bytes.",
            tip="Send large images as URLs in place of base64.",
        )


class UnsupportedMediaTypeError(ApiError):
    """The content type is none of the three we read."""

    code = "unsupported_media_type"
    http_status = 415

    def __init__(self) -> None:
        super().__init__(
            "This content type is not supported.",
            tip="Send application/json, application/x-www-form-urlencoded or multipart/form-data.",
        )
