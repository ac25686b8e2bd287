"""Handle failed attempts: release, retry or final failure of the job."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog

from common.domain.errors import (
    ClaimLostError,
    GenerationStoppedError,
    InfillError,
    StorageOutageError,
)
from common.domain.record import ClaimedJob, JobRecord
from common.domain.retry import GiveUp, Retry, decide_retry
from common.messaging.announcer import Announcer
from common.postgres.database import Database
from common.postgres.repositories.jobs.finish import fail
from common.postgres.repositories.jobs.leases import release_claim, retry_later
from common.postgres.statements import Executor
from common.postgres.write_with_retry import write_with_retry
from common.runtime.clock import utc_now
from common.runtime.metrics import JOBS_ENDED
from common.settings import JobSettings

T = TypeVar("T")

log = structlog.get_logger(__name__)


class FailureHandler:
    """Decides and records what happens to the job of a failed attempt.

    Every write is fenced by the attempt's claim.
    """

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        settings: JobSettings,
        *,
        outage_seconds: float,
    ) -> None:
        """Create a handler; `outage_seconds` is the wait of a job that met an unavailable store."""
        self._outage_seconds = outage_seconds
        self._database = database
        self._announcer = announcer
        self._settings = settings

    async def handle(self, claimed: ClaimedJob, error: Exception) -> None:
        """Release the job, schedule a retry, or fail it for good, depending on `error`.

        If the claim was lost, the result is dropped and nothing is written.
        """
        if isinstance(error, ClaimLostError):
            log.info("result_dropped", reason=error.message)
        elif isinstance(error, GenerationStoppedError):
            await self._release(claimed.record)
        elif isinstance(error, StorageOutageError):
            await self._release_for_later(claimed.record, error)
        else:
            await self._retry_or_fail(claimed, error)

    async def _release(self, job: JobRecord) -> None:
        if await self._write(partial(release_claim, claim=job.claim)):
            await self._announcer.announce_queued(job.queue)
            log.info("job_released")

    async def _release_for_later(self, job: JobRecord, error: StorageOutageError) -> None:
        seconds = self._outage_seconds
        if await self._write(partial(release_claim, claim=job.claim, seconds=seconds)):
            log.info("job_released", seconds=seconds, detail=error.detail)

    async def _retry_or_fail(self, claimed: ClaimedJob, error: Exception) -> None:
        foreseen = isinstance(error, InfillError)
        log.warning(
            "attempt_failed",
            error=type(error).__name__,
            detail=error.detail if isinstance(error, InfillError) else "",
            exc_info=None if foreseen else error,
        )
        job, now = claimed.record, utc_now()
        wait = timedelta(seconds=self._settings.retry_seconds)
        most = claimed.max_attempts
        match decide_retry(error, attempt=job.attempt, max_attempts=most, now=now, wait=wait):
            case Retry(at, code, message):
                seconds = (at - now).total_seconds()
                again = partial(
                    retry_later, claim=job.claim, seconds=seconds, code=code, message=message
                )
                if await self._write(again):
                    log.info("job_retry_scheduled", code=code, seconds=seconds)
            case GiveUp(code, message):
                await self._fail(job, code, message)

    async def _fail(self, job: JobRecord, code: str, message: str) -> None:
        ended = await self._write(partial(fail, claim=job.claim, code=code, message=message))
        if ended is not None:
            JOBS_ENDED.labels(outcome="failed").inc()
            log.info("job_failed", code=code)
            await self._announcer.announce_ended(ended)

    async def _write(self, write: Callable[[Executor], Awaitable[T]]) -> T:
        return await write_with_retry(self._database, write, seconds=self._settings.lease_seconds)
