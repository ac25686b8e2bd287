"""Progress of running jobs in Redis: updated several times a second, kept for a minute.

Progress is not durable, unlike the job's state, which is stored in its row. Each attempt has its
own key, so a worker that lost its claim cannot overwrite the progress of the next attempt.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from redis.asyncio import Redis

# Longer than any step; it expires, because a worker that dies deletes nothing.
KEPT_SECONDS: Final = 60
PREVIEW_TYPE: Final = "image/jpeg"
_STEPS: Final = ("step", "steps")
_TIMES: Final = ("at", "step_seconds")
_PREVIEW: Final = "preview"
_HashField: TypeAlias = bytes | bytearray | memoryview | str | int | float


class AttemptName(NamedTuple):
    """Identifier of one attempt of one job."""

    file_prefix: UUID
    attempt: int

    @property
    def key(self) -> str:
        """The Redis key of the attempt's progress."""
        return f"infill:progress:{self.file_prefix}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Progress of an attempt: `step` of `steps`, and a small JPEG preview of the first image.

    `at` is the Unix time of the step. `step_seconds` is the mean duration of the latest steps, or
    None until two steps have been measured.
    """

    step: int
    steps: int
    preview: bytes | None = None
    at: float | None = None
    step_seconds: float | None = None


async def write_progress(
    redis: "Redis",
    progress_by_attempt: Mapping[AttemptName, JobProgress],
    ended: Collection[AttemptName],
) -> None:
    """Store the progress of running attempts and delete that of `ended` attempts in one round trip.

    A stored preview is kept until a new one is written.

    Raises:
        redis.exceptions.RedisError: Redis is unavailable.
    """
    async with redis.pipeline(transaction=False) as pipeline:
        for name, progress in progress_by_attempt.items():
            pipeline.hset(name.key, mapping=_to_hash(progress))
            pipeline.expire(name.key, KEPT_SECONDS)
        if ended:
            pipeline.delete(*(name.key for name in ended))
        await pipeline.execute()


def _to_hash(progress: JobProgress) -> dict[_HashField, _HashField]:
    fields = {name: getattr(progress, name) for name in (*_STEPS, *_TIMES, _PREVIEW)}
    return {name: value for name, value in fields.items() if value is not None}


async def read_progress(
    redis: "Redis", name: AttemptName, *, preview: bool = False
) -> JobProgress | None:
    """Return the progress of an attempt, or None if none is stored.

    The preview is included only if `preview` is true.

    Raises:
        redis.exceptions.RedisError: Redis is unavailable.
    """
    fields = (*_STEPS, *_TIMES, *((_PREVIEW,) if preview else ()))
    found: list[Any] = await redis.hmget(name.key, fields)
    step, steps, at, step_seconds, *previews = found
    if step is None or steps is None:
        return None
    return JobProgress(
        int(step),
        int(steps),
        previews[0] if previews else None,
        at=None if at is None else float(at),
        step_seconds=None if step_seconds is None else float(step_seconds),
    )
