"""Whether a failed attempt is tried again, and when."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.domain.errors import InfillError, PermanentError

LONGEST_WAIT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job has failed; `code` is for programs, `message` for the tenant."""

    code: str
    message: str


def decide(
    error: Exception, *, attempt: int, max_attempts: int, now: datetime, wait: timedelta
) -> Retry | GiveUp:
    """Decide what follows a failed attempt.

    A permanent error ends the job at once. Any other is tried again after `wait`, doubled for
    each attempt already made, at most `LONGEST_WAIT`, until the attempts are used up. An error
    outside our tree says nothing to the tenant: what it holds was not written for them.
    """
    code = error.code if isinstance(error, InfillError) else InfillError.code
    message = error.message if isinstance(error, InfillError) else "internal error"
    if isinstance(error, PermanentError):
        return GiveUp(code, message)
    if attempt >= max_attempts:
        times = "time" if attempt == 1 else "times"
        return GiveUp(code, f"{message} (tried {attempt} {times})")
    return Retry(now + min(wait * 2 ** (attempt - 1), LONGEST_WAIT))
