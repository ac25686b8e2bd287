"""What a caller ordered, whichever face of the API it came through."""

from dataclasses import dataclass

from common.domain.generation import GenerationRequest


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A request that has been found right.

    `pictures` holds, by field name, a URL to fetch or the bytes that came along.
    `priority` orders it among its tenant's own jobs: the higher is taken first.
    `request_digest` goes with `idempotency_key`: the SHA-256 of what was asked.
    """

    request: GenerationRequest
    queue: str
    pictures: dict[str, str | bytes]
    base64: bool
    priority: int = 0
    webhook_url: str | None = None
    track_id: str | float | None = None
    idempotency_key: str | None = None
    request_digest: bytes | None = None
