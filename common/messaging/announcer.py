"""Telling the others after a commit; each of these may be lost without harm."""

from redis.asyncio import Redis

from common.domain.job import EndedJob
from common.messaging import cancellation, completion
from common.messaging.doorbell import Doorbell


class Announcer:
    """Wakes whoever waits for what has just been committed."""

    def __init__(self, redis: Redis, doorbell: Doorbell) -> None:
        self._redis = redis
        self._doorbell = doorbell

    async def announce_ended(self, job: EndedJob) -> None:
        """Wake a dispatcher, if there is a webhook to send, and the callers waiting for the job."""
        if job.delivery_id is not None:
            await self._doorbell.ring_dispatcher()
        await completion.announce_ended(self._redis, job.file_prefix)

    async def announce_canceled(self, job: EndedJob) -> None:
        """Let the worker that may hold the job hear of it, too: it stops at its next step."""
        await cancellation.announce_canceled(self._redis, job.file_prefix)
        await self.announce_ended(job)

    async def announce_queued(self, queue: str) -> None:
        """Wake a worker for a job that waits in `queue`."""
        await self._doorbell.ring_worker(queue)
