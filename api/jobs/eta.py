"""Estimated times: position in the queue, measured speed of the model, finished steps of a job."""

import math
from dataclasses import dataclass
from typing import Final

from common.domain.job import JobState
from common.domain.record import JobRecord
from common.forecast.forecast import Forecast, QueueSnapshot, TenantPosition
from common.forecast.pace import ASSUMED_PACE, Pace, Workload
from common.forecast.steps import StepProgress
from common.forecast.tenant_queue import TenantBacklog
from common.messaging.progress import JobProgress
from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.postgres.repositories.fair_queue.queue_snapshot import read_queue_snapshot
from common.postgres.repositories.fair_queue.tenant_position import read_tenant_position
from common.runtime.clock import utc_now
from common.runtime.single_flight import Reading, SingleFlightCache

# A snapshot of a queue, or a tenant's position in it, serves all requests for this time; jobs
# that this gateway accepts meanwhile are added.
FRESH_SECONDS: Final = 2.0
# Cached positions; one of a long backlog takes some 50 kB.
CACHED_POSITIONS: Final = 1_000
# There is one queue per model.
CACHED_QUEUES: Final = 1_000
TIP: Final = (
    "Your job is queued or running; fetch it after the estimated time, or wait for the webhook."
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated seconds until a job ends, and a tip for the caller."""

    seconds: int
    tip: str


@dataclass(frozen=True, slots=True)
class _Outlook:
    """Inputs of an estimate: a queue's forecast, the forecast's age, a tenant's queue position."""

    forecast: Forecast
    age_seconds: float
    position: TenantPosition


class EtaEstimator:
    """Estimator of waiting times, based on queue and tenant snapshots cached for two seconds."""

    def __init__(self, database: Database, *, silent_seconds: float, slots: int = 1) -> None:
        """Create an estimator for workers that each run up to `slots` jobs at the same time.

        Workers without a heartbeat for `silent_seconds` are not counted.
        """
        self._database = database
        self._slots = slots
        self._silent_seconds = silent_seconds
        self._forecasts = SingleFlightCache(self._read_forecast, capacity=CACHED_QUEUES)
        self._positions = SingleFlightCache(self._read_position, capacity=CACHED_POSITIONS)
        # By queue: the pace of the running job whose progress was read last.
        self._running_paces: dict[str, Pace] = {}

    def add_accepted(self, job: JobRecord) -> None:
        """Add a job that this process has just recorded to the cached backlog of its tenant."""
        position = self._positions.latest((job.tenant_id, job.queue))
        if position is not None:
            position.queued.add_job(job.priority, job.id, _workload(job))

    async def estimate_end(
        self, job: JobRecord, progress: JobProgress | None = None, *, sees_progress: bool = False
    ) -> Estimate:
        """Estimate when a queued or running job ends; if Postgres is down, use cached data.

        `progress` is the job's. If there is none although `sees_progress` is true, that is, Redis
        is available, a running job has not finished its first step.
        """
        try:
            outlook = await self._read_outlook(job.tenant_id, job.queue)
        except Exception as error:
            if not is_unavailable(error):
                raise
            # The job is recorded, and its caller has to learn that.
            outlook = self._latest_outlook(job.tenant_id, job.queue)
        if progress is not None and progress.steps > 0:
            seconds = self._seconds_by_steps(outlook, job, progress)
            return Estimate(max(1, math.ceil(seconds)), TIP)
        seconds = _seconds_to_end(outlook, job, sees_progress=sees_progress)
        return Estimate(max(1, math.ceil(seconds)), _tip(outlook.forecast))

    async def estimate_backlog(self, tenant_id: int, queue: str) -> tuple[int, int]:
        """Return the tenant's number of waiting jobs and the seconds until a new job starts."""
        outlook = await self._read_outlook(tenant_id, queue)
        backlog = outlook.position.queued.total
        seconds = outlook.forecast.seconds_until_start(
            outlook.position, backlog, elapsed=outlook.age_seconds
        )
        return round(backlog.jobs), math.ceil(seconds)

    def _seconds_by_steps(self, outlook: _Outlook, job: JobRecord, progress: JobProgress) -> float:
        age = 0.0 if progress.at is None else utc_now().timestamp() - progress.at
        steps = StepProgress(progress.step, progress.steps, progress.step_seconds, age)
        if steps.step_seconds is not None:
            self._running_paces[job.queue] = Pace(
                steps.step_seconds * steps.steps / job.request.cost
            )
        return outlook.forecast.started_seconds_left(
            _workload(job), steps, images=job.request.samples
        )

    async def _read_outlook(self, tenant_id: int, queue: str) -> _Outlook:
        forecast = await self._forecasts.get(queue)
        position = await self._positions.get((tenant_id, queue))
        return _Outlook(forecast.value, forecast.age_seconds, position.value)

    def _latest_outlook(self, tenant_id: int, queue: str) -> _Outlook:
        forecast = self._forecasts.latest(queue) or Forecast(QueueSnapshot())
        position = self._positions.latest((tenant_id, queue)) or TenantPosition(TenantBacklog())
        return _Outlook(forecast, 0.0, position)

    async def _read_forecast(self, queue: str) -> Reading[Forecast]:
        async with self._database.direct() as connection:
            snapshot = await read_queue_snapshot(
                connection, queue, silent_seconds=self._silent_seconds
            )
        assumed = self._running_paces.get(queue, ASSUMED_PACE)
        forecast = Forecast(snapshot, worker_slots=self._slots, assumed=assumed)
        return Reading(forecast, FRESH_SECONDS)

    async def _read_position(self, key: tuple[int, str]) -> Reading[TenantPosition]:
        tenant_id, queue = key
        async with self._database.direct(tenant_id) as connection:
            position = await read_tenant_position(connection, tenant_id=tenant_id, queue=queue)
        return Reading(position, FRESH_SECONDS)


def _seconds_to_end(outlook: _Outlook, job: JobRecord, *, sees_progress: bool) -> float:
    if job.state is JobState.RUNNING and job.started_at is not None:
        running = (utc_now() - job.started_at).total_seconds()
        forecast = outlook.forecast
        estimate = (
            forecast.unstarted_seconds_left if sees_progress else forecast.running_seconds_left
        )
        return estimate(_workload(job), running, elapsed=outlook.age_seconds)
    before = outlook.position.queued.load_before(job.priority, job.id)
    return outlook.forecast.seconds_until_end(
        outlook.position, before, _workload(job), elapsed=outlook.age_seconds
    )


def _workload(job: JobRecord) -> Workload:
    return Workload(1, job.request.cost)


def _tip(forecast: Forecast) -> str:
    if not forecast.has_workers:
        return "No worker is running for this model; the job waits until one starts."
    if not forecast.is_measured:
        return "This model has not finished a job yet, so its speed is unknown and `eta` is rough."
    return TIP
