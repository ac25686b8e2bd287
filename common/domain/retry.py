"""Decide whether and when a failed attempt of a job is retried."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from common.domain.errors import FetchFailedError, InfillError, PermanentError, TransientError

MAX_WAIT = timedelta(minutes=10)
MAX_REQUESTED_WAIT = timedelta(hours=1)  # by an image's host; rate limits are rarely longer
_OUR_ERROR = "the job failed because of an error in this service, which has been logged"
MAX_DOUBLINGS = 20  # keeps 2**n small; after that many, any wait has reached MAX_WAIT


@dataclass(frozen=True, slots=True)
class Retry:
    """Decision to retry the job at `at` or later; until then, the job's row contains the error."""

    at: datetime
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Decision to fail the job; `code` is machine-readable, `message` is shown to the tenant."""

    code: str
    message: str


def decide_retry(
    error: Exception, *, attempt: int, max_attempts: int, now: datetime, wait: timedelta
) -> Retry | GiveUp:
    """Decide whether to retry a job after the failed attempt, and when.

    A permanent error fails the job at once. Any other error is retried after `wait`, doubled for
    each further attempt up to `MAX_WAIT`, until `max_attempts` is reached. The wait is longer, up
    to `MAX_REQUESTED_WAIT`, if the host of an image asked for it. Only messages of permanent and
    transient errors are shown to the tenant; others may contain internal details.
    """
    code, message = InfillError.code, _OUR_ERROR
    if isinstance(error, PermanentError | TransientError):
        code, message = error.code, error.message
    if isinstance(error, PermanentError):
        return GiveUp(code, message)
    if attempt >= max_attempts:
        times = "time" if attempt == 1 else "times"
        return GiveUp(code, f"{message} (tried {attempt} {times})")
    doubled = wait * 2 ** min(attempt - 1, MAX_DOUBLINGS)
    return Retry(now + max(min(doubled, MAX_WAIT), _requested_wait(error)), code, message)


def parse_retry_after(text: str, now: datetime) -> float:
    """Return the seconds in a Retry-After header; 0 if it is in the past or malformed.

    The header is a number or an HTTP date (RFC 9110, 10.2.3).
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        # `-0000` yields a naive datetime, which means UTC.
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, seconds)


def _requested_wait(error: Exception) -> timedelta:
    seconds = error.wait_seconds if isinstance(error, FetchFailedError) else 0.0
    return timedelta(seconds=min(seconds, MAX_REQUESTED_WAIT.total_seconds()))
