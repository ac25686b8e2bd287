"""Report generation progress to Redis: the latest step of each attempt."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Final, TypeAlias

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.domain.record import JobRecord
from common.messaging.progress import AttemptName, JobProgress, write_progress
from common.runtime.availability import Availability
from worker.engine.images.encode import encode_preview
from worker.engine.interface import Progress

# Between two writes to Redis: clients do not poll more often, and an engine with many samples
# reports hundreds of steps a second.
WRITE_INTERVAL_SECONDS: Final = 0.15

LatestProgress: TypeAlias = dict[AttemptName, Progress]

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

    @contextmanager
    def track(self, job: JobRecord) -> Iterator[Callable[[Progress], None]]:
        """Yield a callback for the progress of one attempt; delete the progress after the block.

        Previews are dropped if the job uses the safety checker, which checks only finished images.
        """
        name = AttemptName(job.file_prefix, job.attempt)
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            if job.request.safety_checker:
                progress = replace(progress, preview=None)
            if self._store(name, progress) and not loop.is_closed():
                loop.call_soon_threadsafe(self._wake.set)

        try:
            yield report
        finally:
            self._end(name)

    async def run(self) -> None:
        """Write the collected progress to Redis until canceled."""
        while True:
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

    def _store(self, name: AttemptName, progress: Progress) -> bool:
        """Store an attempt's latest progress; return whether to wake the writer.

        If `progress` has no preview, the previously stored preview is kept.
        """
        with self._lock:
            is_first = not self._latest
            before = self._latest.get(name)
            if progress.preview is None and before is not None:
                progress = replace(progress, preview=before.preview)
            self._latest[name] = progress
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
    return {
        name: JobProgress(
            progress.step,
            progress.steps,
            None if progress.preview is None else encode_preview(progress.preview),
        )
        for name, progress in latest.items()
    }
