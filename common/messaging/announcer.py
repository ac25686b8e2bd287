"""Redis messages that announce committed changes; a lost message only causes a delay."""

from redis.asyncio import Redis

from common.domain.job import EndedJob
from common.messaging import cancellation, completion
from common.messaging.doorbell import Doorbell


class Announcer:
    """Sends Redis messages about changes that were just committed to Postgres."""

    def __init__(self, redis: Redis, doorbell: Doorbell) -> None:
        self._redis = redis
        self._doorbell = doorbell

    async def announce_ended(self, job: EndedJob) -> None:
        """Wake callers waiting for the job, and wake a dispatcher if there is a webhook to send."""
        if job.delivery_id is not None:
            await self._doorbell.ring_dispatcher()
        await completion.announce_ended(self._redis, job.file_prefix)

    async def announce_canceled(self, job: EndedJob) -> None:
        """Tell the worker that may be running the job to stop, and announce the job's end."""
        await cancellation.announce_canceled(self._redis, job.file_prefix)
        await self.announce_ended(job)

    async def announce_queued(self, queue: str) -> None:
        """Wake one worker for a new job in `queue`."""
        await self._doorbell.ring_worker(queue)
