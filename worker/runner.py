"""The life of a claimed job: fetch, generate, upload, finish; see `Runner._work` first."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from common.domain.errors import ClaimLostError
from common.domain.record import ClaimedJob, JobRecord, JobResult
from common.messaging.announcer import Announcer
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.claim import claim_jobs
from common.postgres.repositories.jobs.finish import succeed
from common.postgres.repositories.jobs.leases import release_claim
from common.postgres.write_with_retry import write_with_retry
from common.runtime.clock import monotonic, utc_now
from common.runtime.metrics import JOBS_ENDED, QUEUE_WAIT_SECONDS
from common.settings import JobSettings, WorkerSettings
from worker.attempt import Attempt
from worker.engine.images.inputs import InputImages, image_fields
from worker.engine.interface import GenerationResult
from worker.engine_pool import EnginePool
from worker.failure import FailureHandler
from worker.heartbeat import Heartbeat
from worker.image_transfers import ImageTransfers
from worker.sharing.generation_slots import ClaimRoom, GenerationSlots
from worker.sharing.quarantine import Quarantine
from worker.sharing.queue_order import QueueOrder

# How long a job recorded by a newer release is left to the workers of that release.
UNREADABLE_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class Runner:
    """Claims jobs and runs them to their end, up to `concurrency` in the engine at a time."""

    def __init__(
        self,
        database: Database,
        transfers: ImageTransfers,
        engine_pool: EnginePool,
        announcer: Announcer,
        heartbeat: Heartbeat,
        settings: JobSettings,
        worker_settings: WorkerSettings,
    ) -> None:
        self.slots = GenerationSlots(worker_settings.concurrency)
        self._database = database
        self._transfers = transfers
        transfers.store.outage.control_claims(self.slots.pause, self.slots.resume)
        self._engine_pool = engine_pool
        self._announcer = announcer
        self._heartbeat = heartbeat
        self._settings = settings
        self._grace_seconds = worker_settings.stuck_seconds
        self._failure_handler = FailureHandler(
            database, announcer, settings, outage_seconds=worker_settings.store_retry_seconds
        )
        self._quarantine = Quarantine()
        self._queue_order = QueueOrder(
            heartbeat.queues, patience_seconds=worker_settings.unloaded_model_wait_seconds
        )
        self._stopping = False
        self._releasing = False
        self._attempts: set[Attempt] = set()

    def stop_claiming(self) -> None:
        """Stop claiming jobs; running jobs continue."""
        self._stopping = True
        self.slots.close()

    def release_jobs(self) -> None:
        """Stop the running jobs and release them to other workers; the attempts do not count.

        Jobs whose images are already generated have a short grace period to store them, unless the
        object store is unavailable.
        """
        if self._releasing:
            return
        self._releasing = True
        for attempt in self._attempts:
            self._stop_for_shutdown(attempt)

    def _stop_for_shutdown(self, attempt: Attempt) -> None:
        grace_seconds = 0.0 if self._transfers.store.outage.is_active else self._grace_seconds
        attempt.stop_for_shutdown(grace_seconds=grace_seconds)

    async def run_waiting_jobs(self, queue: str, *, claimed: asyncio.Event | None = None) -> int:
        """Claim and run waiting jobs, `queue` first, until none are left; return how many were run.

        Each claim takes as many jobs as there is room for. The next claim begins with the next
        queue, so that a long queue does not starve the others; see `QueueOrder`. The event
        `claimed` is set after the first claim, whether or not it found a job.
        """
        queues = self._heartbeat.queues
        running: list[asyncio.Task[None]] = []
        try:
            while not self._stopping:
                admitted, full_tenants = await self._admit(queue)
                if claimed is not None:
                    claimed.set()
                if admitted:
                    queue = queues[(queues.index(admitted[0].record.queue) + 1) % len(queues)]
                    running += [asyncio.create_task(self._run_admitted(job)) for job in admitted]
                elif not full_tenants or not await self.slots.wait_for_tenants(full_tenants):
                    break
        finally:
            await asyncio.gather(*running)
        return len(running)

    async def _admit(self, first_queue: str) -> tuple[list[ClaimedJob], frozenset[int]]:
        """Wait for room and claim; return the jobs and the tenants of which none could be taken."""
        room = ClaimRoom(0)

        async def claim() -> list[ClaimedJob]:
            nonlocal room
            room = await self.slots.wait_for_room()
            jobs = await self._claim(first_queue, room) if room.jobs else []
            for job in jobs:
                endpoint = job.record.request.endpoint
                self.slots.start(job.record, has_inputs=bool(image_fields(endpoint)))
            return jobs

        return await self._quarantine.admit(claim), room.full_tenants

    async def _claim(self, first_queue: str, room: ClaimRoom) -> list[ClaimedJob]:
        queues = self._queue_order.order(first_queue, self._engine_pool.loaded, monotonic())
        async with self._database.direct() as connection:
            claimed = await claim_jobs(
                connection,
                queues=queues,
                worker=self._heartbeat.worker,
                lease_seconds=self._settings.lease_seconds,
                limit=room.jobs,
                tenant_limits=room.by_tenant,
            )
        served = claimed.jobs[0].record.queue if claimed.jobs else None
        self._queue_order.record_claim(queues, served, monotonic())
        for claim, detail in claimed.unreadable:
            log.warning("job_unreadable", job_id=claim.job_id, detail=detail)
            again = partial(release_claim, claim=claim, seconds=UNREADABLE_SECONDS)
            await write_with_retry(self._database, again, seconds=self._settings.lease_seconds)
        return claimed.jobs

    async def _run_admitted(self, claimed: ClaimedJob) -> None:
        try:
            await self._run(claimed)
        finally:
            self._quarantine.ended(claimed)
            self.slots.end(claimed.record)

    async def _run(self, claimed: ClaimedJob) -> None:
        job = claimed.record
        attempt = Attempt(job, max_run_seconds=self._settings.max_run_seconds)
        with (
            bound_contextvars(job_id=job.id, attempt=job.attempt, tenant_id=job.tenant_id),
            self._heartbeat.keep_alive(attempt),
        ):
            if job.attempt == 1:
                QUEUE_WAIT_SECONDS.observe((utc_now() - job.created_at).total_seconds())
            log.info("job_claimed", queue=job.queue, alone=claimed.suspect)
            self._attempts.add(attempt)
            if self._releasing:
                self._stop_for_shutdown(attempt)
            try:
                await self._work(attempt, alone=claimed.suspect)
            except Exception as error:  # noqa: BLE001 whatever happened, the row has to say so
                await self._failure_handler.handle(claimed, attempt.reason or error)
            finally:
                self._attempts.discard(attempt)

    async def _work(self, attempt: Attempt, *, alone: bool) -> None:
        attempt.record_time("claimed")
        if alone:
            async with attempt.interruptible():
                await self._quarantine.alone()
        with self._engine_pool.track_progress(attempt):
            generated, images = await self._generate(attempt)
            object_keys = await self._upload(attempt, images)
            attempt.record_time("uploaded")
            result = JobResult(
                object_keys,
                generated.nsfw,
                generated.seconds,
                attempt.timeline,
                generated.engine_seconds,
            )
            await self._finish(attempt.job, result)

    async def _generate(self, attempt: Attempt) -> tuple[GenerationResult, list[bytes]]:
        """Return the result without its images, and the images as PNG.

        So nothing keeps the other images in memory while these wait for the object store.
        """
        inputs = await self._fetch(attempt)
        self.slots.occupy(attempt.job)
        attempt.record_time("fetched")
        generated = await self._engine_pool.generate(attempt, inputs)
        with attempt.timed():
            async with attempt.interruptible():
                images = await self._transfers.encode(attempt.job.request, generated)
        return replace(generated, images=()), images

    async def _fetch(self, attempt: Attempt) -> InputImages:
        with attempt.timed():
            async with attempt.interruptible():
                return await self._transfers.fetch(attempt.job)

    async def _upload(self, attempt: Attempt, images: list[bytes]) -> tuple[str, ...]:
        async with attempt.interruptible():
            return await self._transfers.upload(attempt.job, images)

    async def _finish(self, job: JobRecord, result: JobResult) -> None:
        ended = await write_with_retry(
            self._database,
            partial(succeed, claim=job.claim, result=result),
            seconds=self._settings.lease_seconds,
        )
        if ended is None:
            raise ClaimLostError(
                "the job was ended by another process, or by our own write whose response was lost"
            )
        JOBS_ENDED.labels(outcome="succeeded").inc()
        log.info(
            "job_succeeded",
            generation_seconds=round(result.generation_seconds, 3),
            engine_seconds=round(result.engine_seconds, 3),
        )
        await self._announcer.announce_ended(ended)
