"""The heartbeat of a worker: one statement renews the leases of all its jobs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import structlog

from common.domain.errors import ClaimLostError
from common.domain.job import Claim
from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.postgres.repositories.jobs.leases import renew_claims
from common.postgres.repositories.jobs.workers import record_worker_heartbeat
from common.runtime.asyncio_tools import wait_for_event
from common.runtime.availability import Availability
from common.settings import JobSettings
from worker.attempt import Attempt

# After a failed heartbeat: leases have to be renewed as soon as Postgres is available again.
RETRY_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Heartbeat:
    """Periodic renewal of the leases of all jobs a worker holds, and of the worker's own row.

    While Postgres is unavailable, jobs continue, because other workers cannot claim them either.
    Afterwards, the fence decides which worker's result is stored.
    """

    def __init__(
        self, database: Database, settings: JobSettings, *, worker: str, queues: tuple[str, ...]
    ) -> None:
        self._database = database
        self._settings = settings
        self.worker = worker
        self.queues = queues
        self.postgres = Availability("postgres")
        self._attempts: dict[Claim, Attempt] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._wake = asyncio.Event()

    @property
    def claim_count(self) -> int:
        """The number of jobs that this worker holds."""
        return len(self._attempts)

    @contextmanager
    def keep_alive(self, attempt: Attempt) -> Iterator[None]:
        """Renew the lease of `attempt` during the block; stop the attempt if its claim is lost."""
        claim = attempt.job.claim
        self._attempts[claim] = attempt
        self._idle.clear()
        try:
            yield
        finally:
            del self._attempts[claim]
            if not self._attempts:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until this worker holds no job."""
        await self._idle.wait()

    def on_job_canceled(self, file_prefix: UUID | None) -> None:
        """Renew the leases at once if this worker holds the canceled job, so that it is stopped.

        `file_prefix` identifies the job. None means that messages were missed, so that any job may
        have been canceled.
        """
        held = self._attempts.values()
        if any(file_prefix in {None, attempt.job.file_prefix} for attempt in held):
            self._wake.set()

    async def run(self) -> None:
        """Renew the leases every `heartbeat_seconds` until canceled, or sooner after a failure."""
        seconds = self._settings.heartbeat_seconds
        while True:
            pause = seconds if self.postgres.is_available else min(seconds, RETRY_SECONDS)
            await wait_for_event(self._wake, pause)
            self._wake.clear()
            try:
                await self.renew_leases()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("heartbeat_failed")
                else:
                    self.postgres.mark_unavailable(error)

    async def renew_leases(self) -> None:
        """Renew the leases of all held jobs now, and stop the attempts whose claims were lost."""
        held = dict(self._attempts)
        async with self._database.statement() as connection:
            await record_worker_heartbeat(connection, self.worker, self.queues)
            self.postgres.mark_available()
            if not held:
                return
            renewed = await renew_claims(connection, list(held), self._settings.lease_seconds)
        # Attempts that ended meanwhile are not held any more, and so not lost.
        for claim in (held.keys() & self._attempts.keys()) - renewed:
            held[claim].stop(
                ClaimLostError("the claim was lost: another process has requeued or ended the job")
            )
            log.warning(
                "claim_lost",
                job_id=claim.job_id,
                attempt=claim.attempt,
                tenant_id=held[claim].job.tenant_id,
            )
