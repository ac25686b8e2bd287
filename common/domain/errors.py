"""Every error the product raises on purpose.

InfillError
├── PermanentError              the same job would fail the same way again
│   ├── AddressNotAllowedError    an outgoing address is refused by the guard
│   ├── FetchRejectedError        the far side answered, and the answer cannot be used
│   ├── InvalidImageError         the bytes are not an image we accept
│   ├── UnsupportedRequestError   the chosen model cannot do what was asked
│   ├── RunTimeExceededError      the attempt took longer than a job may
│   ├── InvalidNameError          a tenant, a plan or a key cannot be called that
│   ├── InvalidLimitsError        a plan or a tenant cannot have these limits
│   ├── InvalidPeriodError        a report cannot be made of these days
│   ├── InvalidValueError         one value of an operator's cannot be
│   ├── NotFoundError             there is nothing of that name or number
│   └── ConflictError             what is there already stands in the way
├── TransientError              trying again may help
│   ├── FetchFailedError          DNS, connection, time-out or a 5xx answer
│   ├── StorageUnavailableError   the object store did not take or give an object
│   ├── DecodingFailedError       what decodes pictures died or hung over one
│   ├── GenerationError           the engine failed on this job
│   └── EngineLostError           the engine's device computes no more, for nobody
├── ClaimLostError              somebody else owns the job now: drop the work, quietly
├── GenerationStoppedError      the generation was told to stop (cancel, shutdown)
└── ConfigurationError          the operator has to change something

`message` is written for the tenant and says what would be right; `detail` is for the
operator's log only and may hold what a tenant must not see (addresses, inner errors).
"""

from collections.abc import Mapping
from typing import ClassVar


def pluralize(number: int | str, thing: str) -> str:
    """Give a number, or a text that spells one, with what it counts: `1 job`, `0.5 jobs`."""
    return f"{number} {thing}" if str(number) == "1" else f"{number} {thing}s"


class InfillError(Exception):
    """Root of the tree; `code` is stable and machine-readable."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class PermanentError(InfillError):
    """The same job would fail the same way again; it is not retried."""

    code = "permanent_error"


class AddressNotAllowedError(PermanentError):
    """The guard refused an outgoing address."""

    code = "address_not_allowed"


class FetchRejectedError(PermanentError):
    """The far side answered with something that cannot be used: 4xx, too large, too many hops."""

    code = "fetch_rejected"


class InvalidImageError(PermanentError):
    """The bytes are not an image we accept; the message names the field and the reason."""

    code = "invalid_image"


class UnsupportedRequestError(PermanentError):
    """The chosen model cannot do what was asked."""

    code = "unsupported_request"


class RunTimeExceededError(PermanentError):
    """The attempt took longer than a job may run: another would take as long."""

    code = "run_time_exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the job ran longer than the limit of {pluralize(f'{seconds:g}', 'second')}"
        )


class InvalidNameError(PermanentError):
    """A tenant, a plan or a key cannot be called that."""

    code = "invalid_name"


class InvalidLimitsError(PermanentError):
    """A plan or a tenant cannot have these limits; `problems` says of each what would be right."""

    code = "invalid_limits"

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} {problem}" for name, problem in problems.items()))
        self.problems = dict(problems)


class InvalidPeriodError(PermanentError):
    """A report cannot be made of these days: the last is before the first."""

    code = "invalid_period"


class InvalidValueError(PermanentError):
    """One value of an operator's cannot be; `problem` says what would be right of `field`."""

    code = "invalid_value"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class NotFoundError(PermanentError):
    """There is nothing of that name or number."""

    code = "not_found"


class ConflictError(PermanentError):
    """What is there already stands in the way."""

    code = "conflict"


class TransientError(InfillError):
    """Trying again later may help; the job is retried within its attempts."""

    code = "transient_error"


class FetchFailedError(TransientError):
    """No usable answer came: DNS trouble, refused connection, time-out, 5xx.

    `reason` is one word for metrics and the delivery log, such as `timeout` or `dns`.
    """

    code = "fetch_failed"

    def __init__(self, message: str, *, reason: str, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.reason = reason


class StorageUnavailableError(TransientError):
    """The object store did not take or give an object."""

    code = "storage_unavailable"


class DecodingFailedError(TransientError):
    """The process that decoded a picture died or did not answer; the message names the field.

    Often the picture's doing, but not always: a machine out of memory kills too.
    """

    code = "decoding_failed"


class GenerationError(TransientError):
    """The engine failed on this job: out of memory, not-a-number pixels, an inner error."""

    code = "generation_failed"


class EngineLostError(TransientError):
    """The device under the engine is broken for this process: it has to end."""

    code = "engine_lost"


class ClaimLostError(InfillError):
    """The fence refused a write: another attempt owns the job, or it has ended."""

    code = "claim_lost"


class GenerationStoppedError(InfillError):
    """The generation was told to stop between two steps."""

    code = "generation_stopped"


class ConfigurationError(InfillError):
    """A setting or a file of the operator's is wrong; the message says which and how to mend it."""

    code = "configuration_error"
