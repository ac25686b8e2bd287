"""How long a caller will wait: its own place under fair claiming, and the speed of the model."""

import math
from dataclasses import dataclass
from typing import Final

from common.domain.job import JobState
from common.domain.record import JobRecord
from common.forecast.forecast import Forecast, QueueSnapshot, TenantPosition
from common.forecast.pace import Workload
from common.forecast.tenant_queue import TenantBacklog
from common.postgres.database import Database, is_unavailable
from common.postgres.repositories.fair_queue.queue_snapshot import read_queue_snapshot
from common.postgres.repositories.fair_queue.tenant_position import read_tenant_position
from common.runtime.clock import utc_now
from common.runtime.single_flight import SingleFlightCache

# One reading of a queue serves all callers for so long, and one of its own place each tenant;
# what this process accepts meanwhile is added.
FRESH_SECONDS: Final = 2.0
# Tenants whose places are kept; a long line takes some 50 kB.
PLACES_KEPT: Final = 1_000
# There is one for each model.
QUEUES_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A wait in seconds, and what is to be said about it."""

    seconds: int
    tip: str


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is known of a queue, since when, and of one tenant's place in it."""

    forecast: Forecast
    age_seconds: float
    own: TenantPosition


class EtaEstimator:
    """Reads each queue, and each tenant's place, at most every two seconds for all requests."""

    def __init__(self, database: Database, *, silent_seconds: float, places: int = 1) -> None:
        """`places` are the jobs that a worker takes at once."""
        self._database = database
        self._places_each = places
        self._silent_seconds = silent_seconds
        self._queues = SingleFlightCache(
            self._read_queue, fresh_seconds=FRESH_SECONDS, most=QUEUES_KEPT
        )
        self._places = SingleFlightCache(
            self._read_place, fresh_seconds=FRESH_SECONDS, most=PLACES_KEPT
        )

    def note_accepted(self, job: JobRecord) -> None:
        """Count a job this process has just recorded, until the next reading sees it."""
        own = self._places.known((job.tenant_id, job.queue))
        if own is not None:
            own.queued.add_job(job.priority, job.id, _load(job))

    async def of_job(self, job: JobRecord) -> Estimate:
        """Estimate when a queued or running job will have ended; without Postgres, roughly."""
        try:
            outlook = await self._look(job.tenant_id, job.queue)
        except Exception as error:
            if not is_unavailable(error):
                raise
            # The job is in the books, and its caller is to be told so.
            outlook = self._remember(job.tenant_id, job.queue)
        seconds = _until_end(outlook, job)
        return Estimate(max(1, math.ceil(seconds)), _tip(outlook.forecast))

    async def waiting(self, tenant_id: int, queue: str) -> tuple[int, int]:
        """Give how many of a tenant's jobs wait, and the seconds until a new one would start."""
        outlook = await self._look(tenant_id, queue)
        whole = outlook.own.queued.total
        seconds = outlook.forecast.seconds_until_start(
            outlook.own, whole, elapsed=outlook.age_seconds
        )
        return round(whole.jobs), math.ceil(seconds)

    async def _look(self, tenant_id: int, queue: str) -> _Outlook:
        kept = await self._queues.get(queue)
        own = await self._places.get((tenant_id, queue))
        return _Outlook(kept.value, kept.age_seconds, own.value)

    def _remember(self, tenant_id: int, queue: str) -> _Outlook:
        forecast = self._queues.known(queue) or Forecast(QueueSnapshot())
        own = self._places.known((tenant_id, queue)) or TenantPosition(TenantBacklog())
        return _Outlook(forecast, 0.0, own)

    async def _read_queue(self, queue: str) -> Forecast:
        async with self._database.direct() as connection:
            reading = await read_queue_snapshot(
                connection, queue, silent_seconds=self._silent_seconds
            )
        return Forecast(reading, worker_slots=self._places_each)

    async def _read_place(self, key: tuple[int, str]) -> TenantPosition:
        tenant_id, queue = key
        async with self._database.direct(tenant_id) as connection:
            return await read_tenant_position(connection, tenant_id=tenant_id, queue=queue)


def _until_end(outlook: _Outlook, job: JobRecord) -> float:
    if job.state is JobState.RUNNING and job.started_at is not None:
        seconds = (utc_now() - job.started_at).total_seconds()
        return outlook.forecast.running_seconds_left(
            _load(job), seconds, elapsed=outlook.age_seconds
        )
    before = outlook.own.queued.load_before(job.priority, job.id)
    return outlook.forecast.seconds_until_end(
        outlook.own, before, _load(job), elapsed=outlook.age_seconds
    )


def _load(job: JobRecord) -> Workload:
    return Workload(1, job.request.cost)


def _tip(forecast: Forecast) -> str:
    if not forecast.has_workers:
        return "No worker is at work for this model; the job waits until one is."
    if not forecast.is_measured:
        return "Nothing has been measured yet for this model, so the estimate is a general one."
    return "Your job is on its way; fetch it after the seconds estimated, or wait for the webhook."
