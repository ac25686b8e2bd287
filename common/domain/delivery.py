"""States of a webhook delivery, and the records of deliveries and attempts."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class DeliveryState(StrEnum):
    """State of a delivery; the comments say what changes it, and what recovers it after a crash."""

    # Due at available_at. A dispatcher's claim makes it sending.
    PENDING = "pending"
    # Claimed under a lease. Its dispatcher ends it, or makes it pending for the next retry. If the
    # lease expires, the sweeper makes it pending again.
    SENDING = "sending"
    # Ended. Only its tenant can make an ended delivery pending again, by asking for a redelivery.
    DELIVERED = "delivered"  # the receiver responded 2xx
    EXHAUSTED = "exhausted"  # the retry schedule ended without a 2xx
    DISCARDED = "discarded"  # the receiver rejected it for good, or its address is not allowed


TRANSITIONS: Final[dict[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.SENDING}),
    DeliveryState.SENDING: frozenset(
        {
            DeliveryState.PENDING,
            DeliveryState.DELIVERED,
            DeliveryState.EXHAUSTED,
            DeliveryState.DISCARDED,
        }
    ),
    DeliveryState.DELIVERED: frozenset({DeliveryState.PENDING}),
    DeliveryState.EXHAUSTED: frozenset({DeliveryState.PENDING}),
    DeliveryState.DISCARDED: frozenset({DeliveryState.PENDING}),
}

# The states an attempt can end a delivery in, and those among them that are failures.
ENDED_STATES: Final = frozenset(
    {DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED}
)
FAILED_STATES: Final = ENDED_STATES - {DeliveryState.DELIVERED}


class Event(StrEnum):
    """The kind of event that a webhook reports."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """A dispatcher's claim on a delivery; valid while the row is `sending` with this attempt."""

    delivery_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """Outcome of one delivery attempt.

    `error` is a one-word cause such as `timeout`, or None if a response was received. `ended_by` is
    the one-word reason why the delivery failed permanently with this attempt, or None if it was
    delivered or will be retried.
    """

    attempt: int
    started_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class AttemptRecord(AttemptOutcome):
    """A delivery attempt: outcome, start of the response body, and time of the next attempt."""

    answer: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One delivery; its `id` is sent to the receiver as `webhook-id`.

    `attempts` counts all attempts, including those not recorded because the dispatcher died.
    `failures` counts the failed attempts since the event or the last redelivery. `next_attempt_at`
    is None unless the delivery is pending. `paused_until` is set while the circuit breaker of its
    origin is open.
    """

    id: UUID
    event: Event
    job_id: int
    track_id: str | int | float | None
    url: str
    state: DeliveryState
    attempts: int
    failures: int
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None
    paused_until: datetime | None
    last_attempt: AttemptOutcome | None
