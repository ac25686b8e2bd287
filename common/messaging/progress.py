"""How far running jobs are: reported by their workers a few times a second, and kept for a minute.

Nothing here is a fact: whoever finds nothing knows the job's state from its row. Each attempt has
a key of its own, so a worker given up for dead does not talk into its successor's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from redis.asyncio import Redis

# Longer than any step, and not for ever: a worker that dies takes nothing back.
KEPT_SECONDS: Final = 60
PREVIEW_TYPE: Final = "image/jpeg"


class AttemptName(NamedTuple):
    """One attempt at one job."""

    file_prefix: UUID
    attempt: int

    @property
    def key(self) -> str:
        """Where it is kept."""
        return f"infill:progress:{self.file_prefix}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """`step` of `steps`, ended all images of the job; `preview` is a small JPEG of the first."""

    step: int
    steps: int
    preview: bytes | None = None


async def write_progress(
    redis: "Redis",
    progress_by_attempt: Mapping[AttemptName, JobProgress],
    ended: Collection[AttemptName],
) -> None:
    """Tell of many attempts in one exchange; a preview stays until a later one comes.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    async with redis.pipeline(transaction=False) as pipeline:
        for name, progress in progress_by_attempt.items():
            pipeline.hset(name.key, mapping={"step": progress.step, "steps": progress.steps})
            if progress.preview is not None:
                pipeline.hset(name.key, "preview", progress.preview)
            pipeline.expire(name.key, KEPT_SECONDS)
        if ended:
            pipeline.delete(*(name.key for name in ended))
        await pipeline.execute()


async def read_progress(
    redis: "Redis", name: AttemptName, *, preview: bool = False
) -> JobProgress | None:
    """Read how far an attempt is, with its preview only where wanted; None if nothing was reported.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    fields = ["step", "steps", *(["preview"] if preview else [])]
    found: list[Any] = await redis.hmget(name.key, fields)
    step, steps, *previews = found
    if step is None or steps is None:
        return None
    return JobProgress(int(step), int(steps), *previews)
