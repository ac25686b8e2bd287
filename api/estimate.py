"""How long a caller will wait: from what lies ahead, who is at work, and how fast it goes."""

import asyncio
import math
from dataclasses import dataclass
from typing import Final

from common.clock import monotonic, utc_now
from common.database import Database, is_unavailable
from common.domain.job import JobState
from common.domain.record import JobRecord
from common.repositories.workers import QueueLoad, measure_load

# One measurement serves all callers for so long; what this process accepts meanwhile is added.
FRESH_SECONDS: Final = 2.0
# Before a queue has finished its first job: a data-centre GPU at 512×512, with some to spare.
ASSUMED_SECONDS_PER_UNIT: Final = 0.5
NOT_MEASURED: Final = QueueLoad(waiting=0, work_ahead=0.0, workers=1, seconds_per_unit=None)


@dataclass(slots=True)
class _Measured:
    load: QueueLoad
    until: float
    added_work: float = 0.0
    added_jobs: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A wait in seconds, and what is to be said about it."""

    seconds: int
    tip: str


class Estimates:
    """Measures each queue at most every two seconds, whatever the number of requests."""

    def __init__(self, database: Database, *, silent_seconds: float) -> None:
        self._database = database
        self._silent_seconds = silent_seconds
        self._measured: dict[str, _Measured] = {}
        self._measuring: dict[str, asyncio.Lock] = {}

    def note_accepted(self, job: JobRecord) -> None:
        """Count a job this process has just recorded, until the next measurement sees it."""
        measured = self._measured.get(job.queue)
        if measured is not None:
            measured.added_work += job.request.cost
            measured.added_jobs += 1

    async def of_job(self, job: JobRecord) -> Estimate:
        """Estimate when a queued or running job will have ended; without Postgres, roughly."""
        try:
            measured = await self._measure(job.queue)
        except Exception as error:
            if not is_unavailable(error):
                raise
            # The job is in the books, and its caller is to be told so.
            measured = self._measured.get(job.queue) or _Measured(NOT_MEASURED, until=0.0)
        pace = _pace(measured.load)
        own = job.request.cost * pace
        if job.state is JobState.RUNNING and job.started_at is not None:
            seconds = own - (utc_now() - job.started_at).total_seconds()
        else:
            seconds = _ahead(measured, job) * pace / _workers(measured.load) + own
        return Estimate(max(1, math.ceil(seconds)), _tip(measured.load))

    async def waiting(self, queue: str) -> tuple[int, int]:
        """Give how many jobs wait in a queue, and the seconds until a new one would start."""
        measured = await self._measure(queue)
        work = measured.load.work_ahead + measured.added_work
        seconds = work * _pace(measured.load) / _workers(measured.load)
        return measured.load.waiting + measured.added_jobs, math.ceil(seconds)

    async def _measure(self, queue: str) -> _Measured:
        # Callers who come while the queue is being measured share the result.
        async with self._measuring.setdefault(queue, asyncio.Lock()):
            known = self._measured.get(queue)
            if known is None or known.until <= monotonic():
                known = await self._measure_anew(queue)
                self._measured[queue] = known
            return known

    async def _measure_anew(self, queue: str) -> _Measured:
        async with self._database.statement() as connection:
            load = await measure_load(connection, queue, silent_seconds=self._silent_seconds)
        return _Measured(load, monotonic() + FRESH_SECONDS)


def _ahead(measured: _Measured, job: JobRecord) -> float:
    """Give the work before `job`: all of it for a new one, its share for one within the queue.

    Jobs are taken in the order of their ids, so the place between the first and the last
    waiting id stands for the place in the queue; counting would cost a scan for each poll.
    """
    first, last = measured.load.first_waiting, measured.load.last_waiting
    if first is None or last is None or job.id > last:
        return measured.load.work_ahead + max(0.0, measured.added_work - job.request.cost)
    return measured.load.work_ahead * max(0, job.id - first) / (last - first + 1)


def _pace(load: QueueLoad) -> float:
    return ASSUMED_SECONDS_PER_UNIT if load.seconds_per_unit is None else load.seconds_per_unit


def _workers(load: QueueLoad) -> int:
    return max(1, load.workers)


def _tip(load: QueueLoad) -> str:
    if not load.workers:
        return "No worker is at work for this model; the job waits until one is."
    if load.seconds_per_unit is None:
        return "Nothing has been measured yet for this model, so the estimate is a general one."
    return "Your job is on its way; fetch it after the seconds estimated, or wait for the webhook."
