"""States of a job, and a worker's claim on a job."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

# Error code of an attempt whose lease expired.
WORKER_LOST: Final = "worker_lost"
# Priorities order a tenant's own jobs, highest first.
LOWEST_PRIORITY: Final = -100
HIGHEST_PRIORITY: Final = 100


class JobState(StrEnum):
    """State of a job; the comments say what changes it, and what recovers it after a crash."""

    # Waiting. A worker's claim makes it running; the sweeper fails it once it has waited too long.
    QUEUED = "queued"
    # Claimed under a lease. Its worker finishes it, requeues it for a retry, or releases it at
    # shutdown. If the lease expires, the sweeper requeues it, or fails it without attempts left.
    RUNNING = "running"
    # Final. Set by the worker in the transaction that stores the result.
    SUCCEEDED = "succeeded"
    # Final. Set by the worker after a permanent error or the last attempt, or by the sweeper.
    FAILED = "failed"
    # Final. Set by the tenant or an operator; a worker that has the job stops at its next step.
    CANCELED = "canceled"


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELED}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}

FINAL_STATES: Final = frozenset(state for state, following in TRANSITIONS.items() if not following)


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's claim on a job; valid while the row is `running` with the same attempt.

    `attempt` is the fencing token: every claim increments it, and it never decreases.
    """

    job_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has just ended; `delivery_id` is None if no webhook has to be sent."""

    job_id: int
    file_prefix: UUID
    delivery_id: UUID | None
