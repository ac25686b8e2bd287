"""Report generation progress to Redis: the latest step of each attempt."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final, TypeAlias

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.domain.record import JobRecord
from common.messaging.progress import AttemptName, JobProgress, write_progress
from common.runtime.availability import Availability
from common.runtime.clock import monotonic, utc_now
from worker.engine.images.encode import encode_preview
from worker.engine.interface import Progress

# Between two writes to Redis: clients do not poll more often, and an engine with many samples
# reports hundreds of steps a second.
WRITE_INTERVAL_SECONDS: Final = 0.15

# Steps from which the speed is measured: few, because requests join and leave the batch.
MEASURED_STEPS: Final = 16


@dataclass(slots=True)
class StepTimer:
    """Measures the mean duration of an attempt's latest steps."""

    _reports: deque[tuple[float, int]] = field(
        default_factory=lambda: deque(maxlen=MEASURED_STEPS + 1)
    )

    def record_step(self, step: int, now: float) -> float | None:
        """Return the mean seconds per step; None until two different steps have been recorded.

        `step` is the number of finished steps, and `now` a time in seconds of `monotonic`.
        """
        self._reports.append((now, step))
        first_time, first_step = self._reports[0]
        return (now - first_time) / (step - first_step) if step > first_step else None


@dataclass(frozen=True, slots=True)
class TimedProgress:
    """The progress of an attempt, the Unix time of its step, and the mean duration of its steps."""

    progress: Progress
    at: float
    step_seconds: float | None


LatestProgress: TypeAlias = dict[AttemptName, TimedProgress]

log = structlog.get_logger(__name__)


class ProgressReporter:
    """Collector of progress from the engine's threads; a background task writes it to Redis.

    Progress that cannot be written is dropped, because later progress replaces it.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._availability = Availability("redis")
        self._lock = Lock()
        self._latest: LatestProgress = {}
        self._written: set[AttemptName] = set()
        self._ended: list[AttemptName] = []
        self._wake = asyncio.Event()

    def callback(self, job: JobRecord) -> Callable[[Progress], None]:
        """Return a function that stores the progress of one attempt; any thread may call it.

        Previews are dropped if the job uses the safety checker, which checks only finished images.
        """
        name = AttemptName(job.file_prefix, job.attempt)
        loop = asyncio.get_running_loop()
        timer = StepTimer()

        def report(progress: Progress) -> None:
            if job.request.safety_checker:
                progress = replace(progress, preview=None)
            step_seconds = timer.record_step(progress.step, monotonic())
            timed = TimedProgress(progress, utc_now().timestamp(), step_seconds)
            if self._store(name, timed) and not loop.is_closed():
                loop.call_soon_threadsafe(self._wake.set)

        return report

    @contextmanager
    def track(self, job: JobRecord) -> Iterator[None]:
        """Delete the progress of an attempt after the block."""
        try:
            yield
        finally:
            self._end(AttemptName(job.file_prefix, job.attempt))

    async def run(self) -> None:
        """Write the collected progress to Redis until canceled."""
        task = asyncio.current_task()
        # The Redis client uses `asyncio.wait_for`, which may swallow a cancellation in Python 3.11.
        while task is None or not task.cancelling():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
                self._availability.mark_available()
            except (RedisError, OSError) as error:
                self._availability.mark_unavailable(error)
            except Exception:
                log.exception("progress_write_failed")
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)

    def _store(self, name: AttemptName, timed: TimedProgress) -> bool:
        """Store an attempt's latest progress; return whether to wake the writer.

        If it has no preview, the previously stored preview is kept.
        """
        with self._lock:
            is_first = not self._latest
            before = self._latest.get(name)
            if timed.progress.preview is None and before is not None:
                progress = replace(timed.progress, preview=before.progress.preview)
                timed = replace(timed, progress=progress)
            self._latest[name] = timed
            return is_first

    def _end(self, name: AttemptName) -> None:
        with self._lock:
            self._latest.pop(name, None)
        if name in self._written:
            self._written.discard(name)
            self._ended.append(name)
            self._wake.set()

    async def _write(self) -> None:
        with self._lock:
            latest, self._latest = self._latest, {}
        ended, self._ended = self._ended, []
        self._written |= latest.keys()
        encoded = await asyncio.to_thread(_encode, latest) if latest else {}
        await write_progress(self._redis, encoded, ended)


def _encode(latest: LatestProgress) -> dict[AttemptName, JobProgress]:
    return {name: _to_job_progress(timed) for name, timed in latest.items()}


def _to_job_progress(timed: TimedProgress) -> JobProgress:
    preview = timed.progress.preview
    return JobProgress(
        timed.progress.step,
        timed.progress.steps,
        None if preview is None else encode_preview(preview),
        at=timed.at,
        step_seconds=timed.step_seconds,
    )
