"""The sweeper: requeues rows with expired leases, fails overdue jobs, sends lost rings again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import EndedJob, JobState
from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.postgres.database import Database
from common.postgres.locks import Lock
from common.postgres.repositories.deliveries.origins import recheck_all_origins
from common.postgres.repositories.deliveries.recount import (
    count_open_breakers,
    delete_idle_origins,
    recount_sending,
)
from common.postgres.repositories.fair_queue.recount import (
    mark_ready_tenants,
    recount_backlogs,
    recount_running,
)
from common.postgres.repositories.maintenance.expire import fail_abandoned, fail_overdue
from common.postgres.repositories.maintenance.requeue import (
    count_claimable,
    count_jobs,
    delete_silent_workers,
    read_uptime_seconds,
    requeue_expired,
    requeue_expired_deliveries,
)
from common.postgres.repositories.maintenance.vacuum import vacuum_counters
from common.postgres.repositories.usage.ledger import fold_usage
from common.runtime.clock import monotonic
from common.runtime.metrics import BREAKERS_OPEN, JOBS, JOBS_ENDED
from common.settings import JobSettings, WebhookSettings
from worker.maintenance.batches import run_batches
from worker.maintenance.leader import LeaderLoop
from worker.maintenance.lease_grace import LeaseGracePeriod

BATCH: Final = 500  # rows moved by one statement, which takes milliseconds
# Per queue and sweep: one ring makes a thread work until no job waits, and the next sweep makes up
# for lost ones.
RINGS: Final = 100

# The pause after recounting the backlogs, as a multiple of the time it took: a million waiting jobs
# take most of a second, and the sums are for estimates alone.
PAUSES_PER_BACKLOG_RECOUNT: Final = 30
# The same for recounting all origins: ten thousand take some 50 ms.
PAUSES_PER_ORIGIN_RECOUNT: Final = 10

# An origin without deliveries for so long is deleted, with the little that was counted.
IDLE_SECONDS: Final = 3600.0
# Rows deleted in one sweep: a tenant that names a new host with each job costs little.
IDLE_ORIGINS: Final = 500

USAGE_ENTRIES: Final = 1_000  # that one statement folds: tens of milliseconds
# In one sweep, so that a backlog, as after an upgrade, delays no other task; usage reports are
# exact however much is still to be folded.
USAGE_BATCHES: Final = 40

log = structlog.get_logger(__name__)


class Sweeper(LeaderLoop):
    """Leader-elected loop that repairs the effects of crashes and lost rings.

    A ring is a message that wakes a worker or dispatcher; the work itself is stored in Postgres.
    """

    def __init__(
        self,
        database: Database,
        doorbell: Doorbell,
        announcer: Announcer,
        settings: JobSettings,
        webhooks: WebhookSettings,
        *,
        queues: Sequence[str],
        grace: LeaseGracePeriod | None = None,
    ) -> None:
        """Create a sweeper for `queues`; if `grace` is None, it is derived from `settings`."""
        super().__init__(
            database, Lock.SWEEPER, name="the sweeper", interval_seconds=settings.sweep_seconds
        )
        self._doorbell = doorbell
        self._announcer = announcer
        self._settings = settings
        self._webhooks = webhooks
        self._queues = queues
        self._grace = grace or LeaseGracePeriod.of(settings, now=monotonic())
        self._next_backlogs = 0.0
        self._next_origins = 0.0
        self._counted_queues = set(queues)

    async def run_round(self, connection: AsyncConnection, _stopping: asyncio.Event) -> None:
        """Run one sweep on `connection`."""
        await self.sweep(connection)

    def _record_response(self) -> None:
        super()._record_response()
        self._grace.record_response(monotonic())

    def _end_leadership(self) -> None:
        JOBS.clear()
        BREAKERS_OPEN.set(0)
        super()._end_leadership()

    async def sweep(self, connection: AsyncConnection) -> None:
        """Run every maintenance task once.

        Rings are sent near the end, so that they include the jobs requeued at the beginning.
        """
        up_seconds = await read_uptime_seconds(connection)
        self._grace.record_response(monotonic())
        if self._grace.is_over(monotonic(), up_seconds=up_seconds):
            await self._requeue_jobs(connection)
            await self._requeue_deliveries(connection)
        await self._maintain_origins(connection)
        await self._fail_overdue(connection)
        await self._recount(connection)
        await delete_silent_workers(connection, seconds=self._settings.lease_seconds)
        servable = await count_claimable(connection, self._queues, at_most=RINGS)
        for queue, number in servable.items():
            await self._doorbell.ring_worker_up_to(queue, number)
        await self._count_jobs(connection)
        await run_batches(
            partial(fold_usage, connection, limit=USAGE_ENTRIES),
            size=USAGE_ENTRIES,
            max_batches=USAGE_BATCHES,
        )
        await vacuum_counters(connection)

    async def _count_jobs(self, connection: AsyncConnection) -> None:
        counted = await count_jobs(connection)
        self._counted_queues |= {queue for queue, _ in counted}
        for queue in self._counted_queues:
            for state in (JobState.QUEUED, JobState.RUNNING):
                JOBS.labels(queue=queue, state=state.value).set(counted.get((queue, state), 0))

    async def _maintain_origins(self, connection: AsyncConnection) -> None:
        begun = monotonic()
        if begun < self._next_origins:
            return
        if await maintain_origins(connection, per_origin=self._webhooks.origin_concurrency):
            await self._doorbell.ring_dispatcher()
        ended = monotonic()
        self._next_origins = ended + (ended - begun) * PAUSES_PER_ORIGIN_RECOUNT

    async def _recount(self, connection: AsyncConnection) -> None:
        """Recount the counters of the fair queue from the rows."""
        await recount_running(connection)
        await mark_ready_tenants(connection)
        begun = monotonic()
        if begun >= self._next_backlogs:
            await recount_backlogs(connection)
            ended = monotonic()
            self._next_backlogs = ended + (ended - begun) * PAUSES_PER_BACKLOG_RECOUNT

    async def _requeue_jobs(self, connection: AsyncConnection) -> None:
        requeue = partial(requeue_expired, connection, limit=BATCH)
        if moved := (await run_batches(requeue, size=BATCH)).moved:
            log.warning("expired_jobs_requeued", jobs=moved)
        await self._fail("abandoned_job_failed", lambda: fail_abandoned(connection, limit=BATCH))

    async def _fail_overdue(self, connection: AsyncConnection) -> None:
        seconds = self._settings.max_queue_seconds
        await self._fail(
            "overdue_job_failed",
            lambda: fail_overdue(connection, max_queue_seconds=seconds, limit=BATCH),
        )

    async def _fail(self, event: str, fail: Callable[[], Awaitable[list[EndedJob]]]) -> None:
        async def batch() -> int:
            failed = await fail()
            # Together: the timeout of a Redis that hangs counts once, not once for every job.
            await asyncio.gather(*(self._announce_failed(event, job) for job in failed))
            return len(failed)

        await run_batches(batch, size=BATCH)

    async def _announce_failed(self, event: str, job: EndedJob) -> None:
        log.warning(event, job_id=job.job_id)
        JOBS_ENDED.labels(outcome=JobState.FAILED.value).inc()
        await self._announcer.announce_ended(job)

    async def _requeue_deliveries(self, connection: AsyncConnection) -> None:
        requeue = partial(requeue_expired_deliveries, connection, limit=BATCH)
        if moved := (await run_batches(requeue, size=BATCH)).moved:
            log.warning("expired_deliveries_requeued", deliveries=moved)
            await self._doorbell.ring_dispatcher()


async def maintain_origins(connection: AsyncConnection, *, per_origin: int) -> bool:
    """Update the tenant origins; return whether any of them became due.

    Recount deliveries by origin, mark origins that are due, and delete idle origins. An origin is
    the scheme, host and port of a webhook URL. `per_origin` is the maximum number of concurrent
    deliveries to one origin.
    """
    await recount_sending(connection, per_origin=per_origin)
    woken = await recheck_all_origins(connection)
    await delete_idle_origins(connection, seconds=IDLE_SECONDS, limit=IDLE_ORIGINS)
    BREAKERS_OPEN.set(await count_open_breakers(connection))
    return woken > 0
