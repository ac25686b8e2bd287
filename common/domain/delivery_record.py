"""What is known of a delivery: where it stands, and what came of its attempts."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.domain.delivery import DeliveryState, Event


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
