"""The data of a job: as submitted, as stored in its row, and its result."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from common.domain.generation import GenerationRequest
from common.domain.job import Claim, JobState

# Maximum length of a textual track_id, in characters.
MAX_TRACK_ID: Final = 1000
# Bound of a numeric track_id: JSON parsers round larger numbers, and it must be returned unchanged.
TRACK_ID_LIMIT: Final = 2**63


def is_track_id(value: object) -> bool:
    """Return whether `value` is a valid track_id: short text that Postgres stores, or a number."""
    if isinstance(value, str):
        plain = "\x00" not in value and not any("\ud800" <= one <= "\udfff" for one in value)
        return plain and len(value) <= MAX_TRACK_ID
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < TRACK_ID_LIMIT  # false for NaN


@dataclass(frozen=True, slots=True)
class InputImage:
    """Location of an input image: a URL given by the caller, or the key of an uploaded object."""

    url: str | None = None
    object_key: str | None = None

    def to_json(self) -> dict[str, str]:
        """Return the location as a JSON object for storage, without unset fields."""
        stored = {"url": self.url, "object_key": self.object_key}
        return {name: value for name, value in stored.items() if value is not None}


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a succeeded job, with an object key and a safety flag per image.

    `generation_seconds` is the duration of the generation, during which the engine may also have
    worked on other jobs; `engine_seconds` is this job's share of the engine's time, which is
    charged. `timeline` holds Unix times in seconds: `claimed`, `fetched`, `generation_started`,
    `denoised` (the last step), `generated`, `uploaded`.
    """

    object_keys: tuple[str, ...]
    nsfw: tuple[bool, ...]
    generation_seconds: float
    timeline: dict[str, float]
    engine_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON object for storage."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Return the result from the JSON object that `to_json` returned."""
        return cls(
            object_keys=tuple(stored["object_keys"]),
            nsfw=tuple(stored["nsfw"]),
            generation_seconds=stored["generation_seconds"],
            timeline=stored["timeline"],
            engine_seconds=stored["engine_seconds"],
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is about to be recorded.

    `priority` orders the jobs of one tenant, highest first. `request_digest` is the SHA-256 of the
    request's fields: it distinguishes a repeated request from a different request with the same
    `idempotency_key`.
    """

    tenant_id: int
    file_prefix: UUID
    queue: str
    request: GenerationRequest
    inputs: dict[str, InputImage]
    base64: bool
    max_attempts: int
    priority: int = 0
    webhook_url: str | None = None
    track_id: str | float | None = None
    idempotency_key: str | None = None
    request_digest: bytes | None = None

    def recorded(self, job_id: int, at: datetime) -> "JobRecord":
        """Return the record of this job as inserted under the id `job_id` at the time `at`."""
        return JobRecord(
            id=job_id,
            tenant_id=self.tenant_id,
            file_prefix=self.file_prefix,
            queue=self.queue,
            state=JobState.QUEUED,
            attempt=0,
            request=self.request,
            inputs=self.inputs,
            base64=self.base64,
            webhook_url=self.webhook_url,
            track_id=self.track_id,
            result=None,
            error_code=None,
            error_message=None,
            created_at=at,
            started_at=None,
            finished_at=None,
            priority=self.priority,
        )


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as stored in its row."""

    id: int
    tenant_id: int
    file_prefix: UUID
    queue: str
    state: JobState
    attempt: int
    request: GenerationRequest
    inputs: dict[str, InputImage]
    base64: bool
    webhook_url: str | None
    track_id: str | float | None
    result: JobResult | None
    error_code: str | None
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    objects_deleted_at: datetime | None = None  # when its images were deleted
    priority: int = 0  # orders its tenant's own jobs, highest first

    @property
    def claim(self) -> Claim:
        """The claim of the worker that runs the job: job id and attempt."""
        return Claim(self.id, self.attempt)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job claimed by a worker, with its maximum number of attempts.

    `suspect` is true if the worker of the previous attempt was lost, possibly because of this job;
    the job must then run alone in its worker.
    """

    record: JobRecord
    max_attempts: int
    suspect: bool
