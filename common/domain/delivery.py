"""The life of a webhook delivery, in one screen."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class DeliveryState(StrEnum):
    """Where a delivery is; each comment says who moves it on."""

    PENDING = "pending"  # due at available_at; a dispatcher's claim moves it on
    SENDING = "sending"  # claimed under a lease; its dispatcher ends it, the sweeper takes it back
    # Ended; from here only their tenant moves them on, by asking for a redelivery.
    DELIVERED = "delivered"  # the receiver answered 2xx
    EXHAUSTED = "exhausted"  # the schedule ended without a 2xx
    DISCARDED = "discarded"  # the receiver wants no more of it, or the address is not allowed


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

# What an attempt can end a delivery in, and those of it that are no success.
ENDED_STATES: Final = frozenset(
    {DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.DISCARDED}
)
FAILED_STATES: Final = ENDED_STATES - {DeliveryState.DELIVERED}


class Event(StrEnum):
    """What a webhook tells."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """The right to send one delivery: valid while the row still carries this attempt, sending."""

    delivery_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """What came of one attempt.

    `error` is one word, null where an answer came; `ended_by` one for what ended the delivery with
    this attempt, null where it was delivered, or goes on.
    """

    attempt: int
    started_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class AttemptRecord(AttemptOutcome):
    """One attempt: also the start of the answer, and when the next was planned."""

    answer: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One delivery; `id` is the `webhook-id` its receiver sees.

    `attempts` counts all, also those nothing was recorded of; `failures` those that failed since
    the event, or since it was asked for again. `next_attempt_at` is null unless it is pending.
    Nothing is sent to its origin before `paused_until`, because too much of late has failed there.
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
