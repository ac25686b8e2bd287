"""Whether a failed attempt is tried again, and when."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.domain.errors import InfillError, PermanentError, TransientError

MAX_WAIT = timedelta(minutes=10)
MAX_DOUBLINGS = 20  # beyond, any wait worth the name is at MAX_WAIT


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `at`; until then this is what went wrong."""

    at: datetime
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job has failed; `code` is for programs, `message` for the tenant."""

    code: str
    message: str


def decide_retry(
    error: Exception, *, attempt: int, max_attempts: int, now: datetime, wait: timedelta
) -> Retry | GiveUp:
    """Decide what follows a failed attempt.

    A permanent error ends the job at once. Any other is tried again after `wait`, doubled for
    each attempt already made, at most `MAX_WAIT`, until the attempts are used up. Any other
    error says nothing to the tenant: what it holds was not written for them.
    """
    code, message = InfillError.code, "internal error"
    if isinstance(error, PermanentError | TransientError):
        code, message = error.code, error.message
    if isinstance(error, PermanentError):
        return GiveUp(code, message)
    if attempt >= max_attempts:
        times = "time" if attempt == 1 else "times"
        return GiveUp(code, f"{message} (tried {attempt} {times})")
    doubled = wait * 2 ** min(attempt - 1, MAX_DOUBLINGS)
    return Retry(now + min(doubled, MAX_WAIT), code, message)
