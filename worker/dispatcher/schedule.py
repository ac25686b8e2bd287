"""The retry schedule of webhooks: pure decisions, with time and jitter as arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeAlias

from common.domain.errors import AddressNotAllowedError
from common.domain.retry import parse_retry_after
from common.settings import WebhookSettings

# Statuses that mean "not now": with these a `Retry-After` header is honoured.
BUSY: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

# Reasons for the end of a delivery; a forbidden address has its error's code instead.
GONE: Final = "gone"
ABORT_MESSAGE: Final = "abort_message"
SCHEDULE: Final = "schedule"


@dataclass(frozen=True, slots=True)
class Responded:
    """Outcome of an attempt: the receiver responded with `status`.

    `retry_after` is the raw value of the Retry-After header. `is_unwanted` means that the receiver
    asked to stop the attempts to deliver this webhook.
    """

    status: int
    retry_after: str | None = None
    is_unwanted: bool = False

    @property
    def is_success(self) -> bool:
        """Whether the receiver accepted the webhook: a 2xx status."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class NoResponse:
    """Outcome of an attempt: no response was received, or the request could not be made.

    `reason` is a one-word cause, such as `timeout`. `is_ours` means that the cause is in Infill,
    not at the receiver.
    """

    reason: str
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """Outcome of an attempt: the outbound guard does not allow the receiver's address."""


Outcome: TypeAlias = Responded | NoResponse | Blocked


@dataclass(frozen=True, slots=True)
class Delivered:
    """Decision after an attempt: the webhook was accepted."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Decision after an attempt: try again at `at` or later."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Decision after an attempt: give up, because the retry schedule has ended."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """Decision after an attempt: do not try again; `reason` is a one-word cause, such as `gone`."""

    reason: str


Decision: TypeAlias = Delivered | Retry | Exhausted | Discarded


def decide(
    outcome: Outcome,
    failures: int,
    now: datetime,
    jitter_draw: float,
    settings: WebhookSettings,
) -> Decision:
    """Decide what follows an attempt, given its outcome and the number of earlier failures.

    Only a 2xx status is a success; a redirect is a failure like any other. The delivery is
    discarded after a status 410, after the response header `webhook-delivery: abort-message`, and
    if the address is not allowed: it was allowed when the job was submitted, so its host now
    resolves to another address. `jitter_draw` is a random number from 0 to 1.
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
    if failures >= len(settings.retry_schedule_seconds):
        return Exhausted()
    stretch = 1 + settings.jitter * (2 * jitter_draw - 1)
    scheduled = settings.retry_schedule_seconds[failures] * stretch
    return Retry(now + timedelta(seconds=max(scheduled, _requested_wait(outcome, now, settings))))


def is_healthy(outcome: Outcome) -> bool | None:
    """Return whether the receiver is healthy according to `outcome`, or None if that is unknown.

    A receiver that asked to stop the attempts is healthy. A failure in Infill or an address that
    is not allowed says nothing about the receiver.
    """
    if isinstance(outcome, Responded):
        return outcome.is_success or outcome.is_unwanted or outcome.status == HTTPStatus.GONE
    if isinstance(outcome, NoResponse) and not outcome.is_ours:
        return False
    return None


def end_reason(decision: Decision) -> str | None:
    """Return the one-word reason why a delivery failed for good; None if it did not."""
    if isinstance(decision, Discarded):
        return decision.reason
    return SCHEDULE if isinstance(decision, Exhausted) else None


def _requested_wait(
    outcome: Responded | NoResponse, now: datetime, settings: WebhookSettings
) -> float:
    """Return the seconds that the receiver asked to wait, up to a limit; 0 if it did not ask."""
    if isinstance(outcome, NoResponse) or outcome.status not in BUSY or not outcome.retry_after:
        return 0
    return min(parse_retry_after(outcome.retry_after, now), settings.retry_after_limit_seconds)
