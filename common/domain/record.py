"""What is known of a job: what came in, and what came of it."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from common.domain.generation import GenerationRequest
from common.domain.job import Claim, JobState

# Characters of a textual track_id.
MAX_TRACK_ID: Final = 1000
# A JSON parser rounds numbers beyond 64 bits, and a track_id has to come back unchanged.
TRACK_ID_LIMIT: Final = 2**63


@dataclass(frozen=True, slots=True)
class InputImage:
    """Where an input picture is: at a URL of the caller's, or an object we uploaded for them."""

    url: str | None = None
    object_key: str | None = None

    def to_json(self) -> dict[str, str]:
        """Give the form stored with the job."""
        stored = {"url": self.url, "object_key": self.object_key}
        return {name: value for name, value in stored.items() if value is not None}


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a succeeded job left: one object and one safety flag per image.

    `generation_seconds` is how long the engine was at it, in whatever company; `engine_seconds` is
    its part of the engine's time, None where that was not noted. `timeline` holds unix times in
    seconds: `claimed`, `fetched`, `generation_started`, `generated`, `uploaded`.
    """

    object_keys: tuple[str, ...]
    nsfw: tuple[bool, ...]
    generation_seconds: float
    timeline: dict[str, float] = field(default_factory=dict)
    engine_seconds: float | None = None

    @property
    def charged_seconds(self) -> float:
        """Give the engine's time that is laid to this job: all of it, where none was noted."""
        return self.generation_seconds if self.engine_seconds is None else self.engine_seconds

    def to_json(self) -> dict[str, Any]:
        """Give the form stored with the job."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read the form stored with the job."""
        return cls(
            object_keys=tuple(stored["object_keys"]),
            nsfw=tuple(stored["nsfw"]),
            generation_seconds=stored["generation_seconds"],
            timeline=stored["timeline"],
            engine_seconds=stored.get("engine_seconds"),
        )


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be recorded.

    `priority` is its place among its tenant's own jobs: the higher is taken first.
    `request_digest` is the SHA-256 of the body as it came, so that a repeated
    `idempotency_key` can be told from one used for something else.
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
        """Return the record of this job, just inserted as `job_id`, without reading it back."""
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
    """A job as its row tells it."""

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
    objects_deleted_at: datetime | None = None  # its pictures are gone
    priority: int = 0  # among its tenant's own jobs; the higher is taken first

    @property
    def claim(self) -> Claim:
        """The claim this record was read under."""
        return Claim(self.id, self.attempt)
