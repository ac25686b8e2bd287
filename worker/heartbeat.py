"""Keeping claims alive: one statement renews all of a process's leases."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from common.database import Database
from common.domain.job import Claim
from common.repositories.claims import renew_claims
from common.repositories.workers import say_alive
from common.settings import JobSettings

log = structlog.get_logger(__name__)


class Lease:
    """One held claim; `lost` turns true when somebody else has the say over the job.

    Read from the generation's thread, written from the loop's: a plain attribute is enough.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
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
        self._leases: dict[Claim, Lease] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def held(self) -> int:
        """How many claims are under way."""
        return len(self._leases)

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[Lease]:
        """Keep a claim alive for as long as the block lasts."""
        lease = Lease(claim)
        self._leases[claim] = lease
        self._idle.clear()
        try:
            yield lease
        finally:
            del self._leases[claim]
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
            except Exception:
                log.exception("heartbeat_failed")

    async def beat(self) -> None:
        """Renew everything now, and mark what was lost."""
        leases = dict(self._leases)
        async with self._database.statement() as connection:
            await say_alive(connection, self.worker, self.queues)
            if not leases:
                return
            held = await renew_claims(connection, list(leases), self._settings.lease_seconds)
        for claim in leases.keys() - held:
            leases[claim].lost = True
            log.warning("claim_lost", job_id=claim.job_id, attempt=claim.attempt)
