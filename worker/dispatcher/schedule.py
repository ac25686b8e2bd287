"""What follows an attempt to deliver a webhook; pure, clock and chance are given."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, TypeAlias

from common.domain.errors import AddressNotAllowedError
from common.settings import WebhookSettings

# Answers that say "not now": with these the receiver may ask for a longer wait.
BUSY: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

# What ends a delivery before its time; the address that is not allowed has its error's word.
GONE: Final = "gone"
ABORT_MESSAGE: Final = "abort_message"
SCHEDULE: Final = "schedule"


@dataclass(frozen=True, slots=True)
class Responded:
    """The receiver answered; `retry_after` is that header as it came.

    `is_unwanted` says that it asked for no more of this message.
    """

    status: int
    retry_after: str | None = None
    is_unwanted: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the receiver has it."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No answer came, or the request could not be made; `reason` is one word.

    `is_ours` says that the trouble was on our side.
    """

    reason: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """The guard let nothing out to that address."""


Outcome: TypeAlias = Responded | NoResponse | Blocked


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The schedule has ended."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """Trying again is no use, or not wanted; `why` is one word."""

    reason: str


Decision: TypeAlias = Delivered | Retry | Exhausted | Discarded


def decide(
    outcome: Outcome,
    failures: int,
    now: datetime,
    jitter_draw: float,
    settings: WebhookSettings,
) -> Decision:
    """Decide what follows an attempt that came after `failures` failed ones.

    Success is 2xx only; a redirect is a failure like any other. 410 says the receiver wants no
    more, and so does a header. A refused address is discarded too: it was judged when the job
    came, so by now its owner has pointed it at a place we never go. `jitter_draw` is a number
    drawn from 0 to 1.
    """
    if isinstance(outcome, Blocked):
        return Discarded(AddressNotAllowedError.code)
    if isinstance(outcome, Responded):
        if outcome.is_success:
            return Delivered()
        if outcome.status == HTTPStatus.GONE:
            return Discarded(GONE)
        if outcome.is_unwanted:
            return Discarded(ABORT_MESSAGE)
    if failures >= len(settings.schedule_seconds):
        return Exhausted()
    stretch = 1 + settings.jitter * (2 * jitter_draw - 1)
    scheduled = settings.schedule_seconds[failures] * stretch
    return Retry(now + timedelta(seconds=max(scheduled, _asked(outcome, now, settings))))


def is_healthy(outcome: Outcome) -> bool | None:
    """Say what an outcome tells of the receiver: well, in trouble, or (None) nothing.

    One that wants no more is well. Our own trouble tells nothing, and neither does an address we
    do not call.
    """
    if isinstance(outcome, Responded):
        return outcome.is_success or outcome.is_unwanted or outcome.status == HTTPStatus.GONE
    if isinstance(outcome, NoResponse) and not outcome.is_ours:
        return False
    return None


def end_reason(decision: Decision) -> str | None:
    """Say in one word what ended a delivery that was not delivered."""
    if isinstance(decision, Discarded):
        return decision.reason
    return SCHEDULE if isinstance(decision, Exhausted) else None


def _asked(outcome: Responded | NoResponse, now: datetime, settings: WebhookSettings) -> float:
    """Give the wait the receiver asked for, in seconds; 0 if it asked for none we can grant."""
    if isinstance(outcome, NoResponse) or outcome.status not in BUSY or not outcome.retry_after:
        return 0
    return min(_seconds(outcome.retry_after.strip(), now), settings.retry_after_limit_seconds)


def _seconds(retry_after: str, now: datetime) -> float:
    """Read seconds or an HTTP date (RFC 9110, 10.2.3); anything else asks for nothing."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0
    # `-0000` gives a naive time that is meant as UTC.
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
