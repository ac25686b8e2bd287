"""How far a running job is, for whoever asks; never an error, and hardly a wait."""

import asyncio
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.domain.job import JobState
from common.domain.record import JobRecord
from common.messaging.progress import AttemptName, JobProgress, read_progress
from common.runtime.availability import Availability
from common.runtime.clock import monotonic

# A Redis that is there answers in a millisecond; an answer is not held up for longer than this.
PATIENCE_SECONDS: Final = 0.1
# While Redis is away, one request in so many seconds asks whether it is back.
PROBE_SECONDS: Final = 1.0


class ProgressReader:
    """Reads what workers told of their steps."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._presence = Availability("redis")
        self._probe_at = 0.0

    async def of_job(self, job: JobRecord, *, preview: bool = False) -> JobProgress | None:
        """Read how far a job is; None for one that is not drawn, or where nobody told."""
        if job.state is not JobState.RUNNING or monotonic() < self._probe_at:
            return None
        name = AttemptName(job.file_prefix, job.attempt)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                progress = await read_progress(self._redis, name, preview=preview)
        except (RedisError, OSError) as error:
            self._probe_at = monotonic() + PROBE_SECONDS
            self._presence.mark_unavailable(error)
            return None
        self._presence.mark_available()
        return progress
