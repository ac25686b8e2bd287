"""Keeping claims alive: one statement renews all of a process's leases."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from common.database import Database, is_unavailable
from common.domain.job import Claim
from common.domain.record import JobRecord
from common.repositories.claims import renew_claims
from common.repositories.workers import say_alive
from common.settings import JobSettings
from worker.presence import Presence

log = structlog.get_logger(__name__)


class Lease:
    """One held claim; `lost` turns true when somebody else has the say over the job.

    Read from the generation's thread, written from the loop's: a plain attribute is enough.
    """

    def __init__(self, job: JobRecord) -> None:
        self.job = job
        self.lost = False


class Heartbeat:
    """Renews the leases of all claims under way, and says that this worker lives.

    When Postgres cannot be reached nothing is given up: nobody else can claim either, and the
    fence decides in the end.
    """

    def __init__(
        self, database: Database, settings: JobSettings, *, worker: str, queues: tuple[str, ...]
    ) -> None:
        self._database = database
        self._settings = settings
        self.worker = worker
        self.queues = queues
        self.postgres = Presence("postgres")
        self._leases: dict[Claim, Lease] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def held(self) -> int:
        """How many claims are under way."""
        return len(self._leases)

    @contextmanager
    def hold(self, job: JobRecord) -> Iterator[Lease]:
        """Keep the claim of `job` alive for as long as the block lasts."""
        lease = Lease(job)
        self._leases[job.claim] = lease
        self._idle.clear()
        try:
            yield lease
        finally:
            del self._leases[job.claim]
            if not self._leases:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no claim is under way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Beat until canceled."""
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            try:
                await self.beat()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("heartbeat_failed")
                else:
                    self.postgres.missed(error)

    async def beat(self) -> None:
        """Renew everything now, and mark what was lost."""
        leases = dict(self._leases)
        async with self._database.statement() as connection:
            await say_alive(connection, self.worker, self.queues)
            self.postgres.found()
            if not leases:
                return
            held = await renew_claims(connection, list(leases), self._settings.lease_seconds)
        # Those that were let go meanwhile have ended by our own hand.
        for claim in (leases.keys() & self._leases.keys()) - held:
            lease = leases[claim]
            lease.lost = True
            log.warning(
                "claim_lost",
                job_id=claim.job_id,
                attempt=claim.attempt,
                tenant_id=lease.job.tenant_id,
            )
