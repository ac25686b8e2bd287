"""The life of a job, in one screen."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

# Why a lost lease ended an attempt: the code in the job's row, and what makes it a suspect.
WORKER_LOST: Final = "worker_lost"
# A job's place among its tenant's own; the highest goes first.
LOWEST_PRIORITY: Final = -100
HIGHEST_PRIORITY: Final = 100


class JobState(StrEnum):
    """Where a job is; each comment says who moves it on."""

    QUEUED = (
        "queued"  # waits; a worker's claim moves it on, the sweeper ends it when it waited too long
    )
    RUNNING = "running"  # claimed under a lease; its worker ends it, the sweeper takes it back
    SUCCEEDED = "succeeded"  # final; set by the worker in the transaction that stores the result
    FAILED = (
        "failed"  # final; set by the worker, or by the sweeper when attempts or time are used up
    )
    CANCELED = "canceled"  # final; set by whoever cancels


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
    """The right to work on one job: valid while the row still carries this attempt, running.

    `attempt` is the fence: it rises with every claim and never falls.
    """

    job_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has just ended; `delivery_id` is None where nobody asked to be told."""

    job_id: int
    file_prefix: UUID
    delivery_id: UUID | None
