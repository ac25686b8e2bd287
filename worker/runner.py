"""One job from claim to finish; read `_work` from top to bottom."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from structlog.contextvars import bound_contextvars

from common.clock import utc_now
from common.database import Database
from common.domain.errors import ClaimLostError, GenerationStoppedError
from common.domain.record import JobRecord, JobResult
from common.metrics import JOBS_ENDED, QUEUE_WAIT_SECONDS
from common.repositories.claims import claim_job
from common.repositories.outcomes import succeed
from common.settings import JobSettings
from worker.announcer import Announcer
from worker.generation.pixels import Pixels
from worker.heartbeat import Heartbeat, Lease
from worker.patience import keep_trying
from worker.settlement import Settlement
from worker.stages import Stages

log = structlog.get_logger(__name__)


class Runner:
    """Claims jobs and works on them until their end."""

    def __init__(
        self,
        database: Database,
        stages: Stages,
        announcer: Announcer,
        heartbeat: Heartbeat,
        settings: JobSettings,
    ) -> None:
        self._database = database
        self._stages = stages
        self._announcer = announcer
        self._heartbeat = heartbeat
        self._settings = settings
        self._settlement = Settlement(database, announcer, settings)
        self._stopping = False
        self._giving_back = False
        self._fetches: set[asyncio.Timeout] = set()

    def stop_claiming(self) -> None:
        """Take no further job; the ones under way go on."""
        self._stopping = True

    def give_back(self) -> None:
        """Stop the jobs that have no images yet and queue them again, at no cost."""
        if self._giving_back:
            return
        self._giving_back = True
        for fetch in self._fetches:
            fetch.reschedule(0)

    async def look(self, queue: str) -> int:
        """Work while there is work, beginning with `queue`; give the number of jobs run.

        After each job the queues take turns, so that a full one does not starve the others.
        """
        queues = self._heartbeat.queues
        turn = queues.index(queue) if queue in queues else 0
        ran = 0
        while not self._stopping:
            found = await self._run_next([*queues[turn:], *queues[:turn]])
            if found is None:
                break
            turn = (queues.index(found) + 1) % len(queues)
            ran += 1
        return ran

    async def _run_next(self, queues: Sequence[str]) -> str | None:
        """Run one job; give the queue it came from, None if there was none."""
        async with self._database.direct() as connection:
            claimed = await claim_job(
                connection,
                queues=queues,
                worker=self._heartbeat.worker,
                lease_seconds=self._settings.lease_seconds,
            )
        if claimed is None:
            return None
        job, max_attempts = claimed
        with (
            bound_contextvars(job_id=job.id, attempt=job.attempt, tenant_id=job.tenant_id),
            self._heartbeat.hold(job) as lease,
        ):
            if job.attempt == 1:
                QUEUE_WAIT_SECONDS.observe((utc_now() - job.created_at).total_seconds())
            log.info("job_claimed", queue=job.queue)
            try:
                await self._work(job, lease)
            except Exception as error:  # noqa: BLE001 whatever happened, the row has to say so
                lost = ClaimLostError("taken back") if lease.lost else error
                await self._settlement.settle(job, max_attempts, lost)
        return job.queue

    async def _work(self, job: JobRecord, lease: Lease) -> None:
        claimed_at = utc_now().timestamp()
        pixels = await self._fetch(job)
        fetched_at = utc_now().timestamp()
        drawn = await self._stages.generate(job, pixels, self._should_stop(lease))
        object_keys = await self._stages.upload(job, drawn)
        timeline = {
            "claimed": claimed_at,
            "fetched": fetched_at,
            "generation_started": drawn.started_at,
            "generated": drawn.ended_at,
            "uploaded": utc_now().timestamp(),
        }
        generated = drawn.generated
        result = JobResult(object_keys, generated.nsfw, generated.seconds, timeline)
        await self._finish(job, result)

    async def _fetch(self, job: JobRecord) -> Pixels:
        """Fetch, unless we have to leave: a slow source may take longer than there is time."""
        limit = asyncio.timeout(0 if self._giving_back else None)
        self._fetches.add(limit)
        try:
            async with limit:
                return await self._stages.fetch(job)
        except TimeoutError as error:
            if limit.expired():
                raise GenerationStoppedError("the worker is leaving") from error
            raise
        finally:
            self._fetches.discard(limit)

    async def _finish(self, job: JobRecord, result: JobResult) -> None:
        ended = await keep_trying(
            self._database,
            partial(succeed, claim=job.claim, result=result),
            seconds=self._settings.lease_seconds,
        )
        if ended is None:
            raise ClaimLostError("somebody else finished this job")
        JOBS_ENDED.labels(outcome="succeeded").inc()
        log.info("job_succeeded", generation_seconds=round(result.generation_seconds, 3))
        await self._announcer.ended(ended)

    def _should_stop(self, lease: Lease) -> Callable[[], bool]:
        return lambda: lease.lost or self._giving_back
