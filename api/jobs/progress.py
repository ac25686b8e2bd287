"""Read the progress of a running job from Redis; it is unavailable while Redis is down."""

import asyncio
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.domain.job import JobState
from common.domain.record import JobRecord
from common.messaging.progress import AttemptName, JobProgress, read_progress
from common.runtime.availability import Availability
from common.runtime.clock import monotonic

# A healthy Redis responds in a millisecond; a response waits no longer than this for it.
REDIS_TIMEOUT_SECONDS: Final = 0.1
# While Redis is unavailable, one request per this time checks whether it is back.
PROBE_SECONDS: Final = 1.0


class ProgressReader:
    """Reader of the steps and previews that workers publish in Redis."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._availability = Availability("redis")
        self._probe_at = 0.0

    @property
    def is_available(self) -> bool:
        """Whether the latest read reached Redis, so that a job without progress has none."""
        return monotonic() >= self._probe_at

    async def read(self, job: JobRecord, *, preview: bool = False) -> JobProgress | None:
        """Return a job's progress, or None if it is not running or no progress is available."""
        if job.state is not JobState.RUNNING or not self.is_available:
            return None
        name = AttemptName(job.file_prefix, job.attempt)
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                progress = await read_progress(self._redis, name, preview=preview)
        except (RedisError, OSError) as error:
            self._probe_at = monotonic() + PROBE_SECONDS
            self._availability.mark_unavailable(error)
            return None
        self._availability.mark_available()
        return progress
