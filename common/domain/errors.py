"""The tree of errors the product raises on purpose.

InfillError
├── PermanentError              the same request would fail the same way again
│   ├── AddressNotAllowedError    the guard rejected an outgoing address
│   ├── FetchRejectedError        the image's server sent a response that cannot be used
│   ├── InvalidImageError         the bytes are not an image we accept
│   ├── UnsupportedRequestError   the chosen model does not support the request
│   ├── RunTimeExceededError      the attempt took longer than a job may
│   ├── InvalidNameError          not a valid name of a tenant, plan or key
│   ├── InvalidLimitsError        not valid limits of a plan or tenant
│   ├── InvalidPeriodError        a report's last day is before its first
│   ├── InvalidValueError         another value of an operator's request is invalid
│   ├── NotFoundError             there is nothing with that name or id
│   └── ConflictError             the change does not fit the present state
├── TransientError              a retry may succeed
│   ├── FetchFailedError          DNS, connection, time-out or a 5xx response
│   ├── StorageUnavailableError   the object store failed
│   ├── DecodingFailedError       the process that decodes an image died or hung
│   ├── GenerationError           the engine failed on this job
│   └── EngineLostError           the engine's device fails for every job in this process
├── ClaimLostError              another attempt owns the job: drop the work without an error
├── GenerationStoppedError      the generation was stopped by a cancel or a shutdown
└── ConfigurationError          the operator has to change a setting or a file

`message` is written for the tenant and says what would be right; `detail` is for the
operator's log only and may hold what a tenant must not see (addresses, inner errors).
"""

from collections.abc import Mapping
from typing import ClassVar


def pluralize(number: int | str, noun: str) -> str:
    """Return a number with its noun in singular or plural: `1 job`, `0.5 jobs`."""
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"


class InfillError(Exception):
    """Root of all errors raised on purpose; `code` is stable and machine-readable."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class PermanentError(InfillError):
    """An error that would happen again in the same way; the job is not retried."""

    code = "permanent_error"


class AddressNotAllowedError(PermanentError):
    """The guard rejected an outgoing address; the message gives no reason, `detail` does."""

    code = "address_not_allowed"


class FetchRejectedError(PermanentError):
    """An image's server sent a response that cannot be used: 4xx, too large, too many redirects."""

    code = "fetch_rejected"


class InvalidImageError(PermanentError):
    """Bytes are not an image we accept; the message names the field and the reason."""

    code = "invalid_image"


class UnsupportedRequestError(PermanentError):
    """The chosen model does not support the request."""

    code = "unsupported_request"


class RunTimeExceededError(PermanentError):
    """The attempt took longer than a job may run; it is not retried, as it would take as long."""

    code = "run_time_exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the job ran longer than the limit of {pluralize(f'{seconds:g}', 'second')}"
        )


class InvalidNameError(PermanentError):
    """Not a valid name of a tenant, a plan or a key."""

    code = "invalid_name"


class InvalidLimitsError(PermanentError):
    """Invalid limits of a plan or a tenant; `problems` maps each to what would be valid."""

    code = "invalid_limits"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


class InvalidPeriodError(PermanentError):
    """A report's last day is before its first."""

    code = "invalid_period"


class InvalidValueError(PermanentError):
    """An invalid value of `field` in an operator's request; `problem` says what would be valid."""

    code = "invalid_value"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class NotFoundError(PermanentError):
    """There is nothing with that name or id."""

    code = "not_found"


class ConflictError(PermanentError):
    """The change does not fit the present state, such as a name that is taken."""

    code = "conflict"


class TransientError(InfillError):
    """An error that a retry may get past; the job is retried until its attempts are used up."""

    code = "transient_error"


class FetchFailedError(TransientError):
    """A request to a tenant's address got no usable response: DNS, connection, time-out or 5xx.

    `reason` is one word for metrics and the delivery log, such as `timeout` or `dns`.
    """

    code = "fetch_failed"

    def __init__(self, message: str, *, reason: str, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.reason = reason


class StorageUnavailableError(TransientError):
    """The object store could not be reached, or failed to read or write an object."""

    code = "storage_unavailable"


class DecodingFailedError(TransientError):
    """The process that decodes an image died or did not respond; the message names the field.

    Retried, because the image need not be the cause: a machine without memory kills processes too.
    """

    code = "decoding_failed"


class GenerationError(TransientError):
    """The engine failed on this job: out of memory, not-a-number pixels, an internal error."""

    code = "generation_failed"


class EngineLostError(TransientError):
    """The engine's device fails for every job of this process, which has to exit."""

    code = "engine_lost"


class ClaimLostError(InfillError):
    """The fence rejected a write: another attempt owns the job, or the job has ended."""

    code = "claim_lost"


class GenerationStoppedError(InfillError):
    """The generation was stopped between two steps, by a cancel or a shutdown."""

    code = "generation_stopped"


class ConfigurationError(InfillError):
    """A setting or a file of the operator's is wrong; the message says which and how to fix it."""

    code = "configuration_error"
