"""The hierarchy of errors that Infill raises deliberately.

InfillError
├── PermanentError              repeating the same request would fail in the same way
│   ├── AddressNotAllowedError    the outbound guard rejected an address
│   ├── FetchRejectedError        the image's server sent a response that cannot be used
│   ├── InvalidImageError         the bytes are not an acceptable image
│   ├── UnsupportedRequestError   the chosen model does not support the request
│   ├── RunTimeExceededError      the attempt exceeded the maximum run time of a job
│   ├── InvalidNameError          not a valid name of a tenant, plan or key
│   ├── InvalidLimitsError        not valid limits of a plan or tenant
│   ├── InvalidPeriodError        a report's last day is before its first
│   ├── InvalidValueError         another value in an operator's request is invalid
│   ├── NotFoundError             nothing has that name or id
│   └── ConflictError             the change conflicts with the current state
├── TransientError              a retry may succeed
│   ├── FetchFailedError          DNS, connection, time-out, a 5xx response or "not now"
│   ├── StorageUnavailableError   the object store failed
│   │   └── StorageOutageError        it fails for all objects alike, not because of this one
│   ├── DecodingFailedError       the process that decodes an image died or hung
│   ├── GenerationError           the engine failed on this job
│   └── EngineLostError           the engine's device fails for every job in this process
├── ClaimLostError              another attempt owns the job: stop working on it silently
├── GenerationStoppedError      the generation was stopped by a cancellation or a shutdown
└── ConfigurationError          the operator has to change a setting or a file

`message` is written for the tenant and states what is valid; `detail` is for the operator's log
only and may contain what a tenant must not see (addresses, inner errors).
"""

from collections.abc import Mapping
from typing import ClassVar


def pluralize(number: int | str, noun: str) -> str:
    """Return a number followed by its noun in singular or plural: `1 job`, `0.5 jobs`."""
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"


class InfillError(Exception):
    """Base class of all errors raised deliberately; `code` is stable and machine-readable."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class PermanentError(InfillError):
    """An error that would recur on every retry; the job fails at once."""

    code = "permanent_error"


class AddressNotAllowedError(PermanentError):
    """The outbound guard rejected a URL.

    The message names what is wrong with the URL's text. If the reason would reveal something about
    the network of this service, it is only in `detail`, for the log.
    """

    code = "address_not_allowed"


class FetchRejectedError(PermanentError):
    """An image's server sent an unusable response: 404, too large, or too many redirects."""

    code = "fetch_rejected"


class InvalidImageError(PermanentError):
    """The bytes are not an acceptable image; the message names the field and the reason."""

    code = "invalid_image"


class UnsupportedRequestError(PermanentError):
    """The chosen model does not support the request."""

    code = "unsupported_request"


class RunTimeExceededError(PermanentError):
    """The attempt exceeded the maximum run time; a retry would take as long, so none is made."""

    code = "run_time_exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the job ran longer than the limit of {pluralize(f'{seconds:g}', 'second')}"
        )


class InvalidNameError(PermanentError):
    """The name of a tenant, a plan or a key is not valid."""

    code = "invalid_name"


class InvalidLimitsError(PermanentError):
    """Limits of a plan or tenant are invalid; `problems` maps each invalid limit to the problem."""

    code = "invalid_limits"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


class InvalidPeriodError(PermanentError):
    """The last day of a usage report is before its first day."""

    code = "invalid_period"


class InvalidValueError(PermanentError):
    """The value of `field` in an operator's request is invalid; `problem` states what is valid."""

    code = "invalid_value"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class NotFoundError(PermanentError):
    """There is no object with the requested name or id."""

    code = "not_found"


class ConflictError(PermanentError):
    """The change conflicts with the current state, for example because a name is taken."""

    code = "conflict"


class TransientError(InfillError):
    """An error that a retry may resolve; the job is retried until its attempts are used up."""

    code = "transient_error"


class FetchFailedError(TransientError):
    """An outbound request failed: DNS error, connection error, time-out, HTTP 5xx, 429 or similar.

    `reason` is a one-word cause for metrics and the delivery log, such as `timeout` or `dns`.
    `wait_seconds` is the time that the server asked to wait with a Retry-After header, or 0.
    """

    code = "fetch_failed"

    def __init__(
        self, message: str, *, reason: str, detail: str = "", wait_seconds: float = 0.0
    ) -> None:
        super().__init__(message, detail=detail)
        self.reason = reason
        self.wait_seconds = wait_seconds


class StorageUnavailableError(TransientError):
    """The object store could not be reached, or failed to read, write or delete an object."""

    code = "storage_unavailable"


class StorageOutageError(StorageUnavailableError):
    """The object store is unavailable for all objects alike: an outage, or an operator's mistake.

    No connection, a time-out, throttling, an HTTP 5xx, a full disk, denied access, or no bucket.
    """


class DecodingFailedError(TransientError):
    """The process that decodes an image died or did not respond; the message names the field.

    It is transient, because the image may not be the cause: the process may have run out of memory.
    """

    code = "decoding_failed"


class GenerationError(TransientError):
    """The engine failed on this job: out of memory, NaN pixels, or an internal error."""

    code = "generation_failed"


class EngineLostError(TransientError):
    """The engine's device fails for every job of this process, so the process has to exit."""

    code = "engine_lost"


class ClaimLostError(InfillError):
    """A write was rejected by the fence: another attempt owns the job, or the job has ended."""

    code = "claim_lost"


class GenerationStoppedError(InfillError):
    """The generation was stopped between two steps by a cancellation or a shutdown."""

    code = "generation_stopped"


class ConfigurationError(InfillError):
    """A setting or a file is invalid; the message names it and says how to fix it."""

    code = "configuration_error"
