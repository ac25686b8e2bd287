"""What the engine tells of its steps, passed on to Redis: the latest of each attempt, no more."""

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

# Between two exchanges with Redis: nobody looks more often, and an engine of many samples would
# tell of hundreds of steps in a second.
PAUSE_SECONDS: Final = 0.15

Told: TypeAlias = dict[AttemptName, Progress]

log = structlog.get_logger(__name__)


class ProgressReporter:
    """Takes note in the engine's threads, without waiting for anything; one task writes.

    What came while Redis was away is dropped: something later follows.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._presence = Availability("redis")
        self._lock = Lock()
        self._latest: Told = {}
        self._written: set[AttemptName] = set()
        self._over: list[AttemptName] = []
        self._news = asyncio.Event()

    @contextmanager
    def of(self, job: JobRecord) -> Iterator[Callable[[Progress], None]]:
        """Give what takes note of one attempt's steps; after the block nothing is kept of it.

        An image that is to be checked shows no preview: it is found unsafe only when it is done.
        """
        name = AttemptName(job.file_prefix, job.attempt)
        loop = asyncio.get_running_loop()

        def note(progress: Progress) -> None:
            if job.request.safety_checker:
                progress = replace(progress, preview=None)
            if self._note(name, progress) and not loop.is_closed():
                loop.call_soon_threadsafe(self._news.set)

        try:
            yield note
        finally:
            self._forget(name)

    async def run(self) -> None:
        """Write until canceled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._write()
                self._presence.found()
            except (RedisError, OSError) as error:
                self._presence.missed(error)
            except Exception:
                log.exception("progress_not_told")
            await asyncio.sleep(PAUSE_SECONDS)

    def _note(self, name: AttemptName, progress: Progress) -> bool:
        """Keep the latest, and a preview until there is a later one; tell whether it is news."""
        with self._lock:
            is_first = not self._latest
            before = self._latest.get(name)
            if progress.preview is None and before is not None:
                progress = replace(progress, preview=before.preview)
            self._latest[name] = progress
            return is_first

    def _forget(self, name: AttemptName) -> None:
        with self._lock:
            self._latest.pop(name, None)
        if name in self._written:
            self._written.discard(name)
            self._over.append(name)
            self._news.set()

    async def _write(self) -> None:
        with self._lock:
            latest, self._latest = self._latest, {}
        over, self._over = self._over, []
        self._written |= latest.keys()
        told = await asyncio.to_thread(_encoded, latest) if latest else {}
        await write_progress(self._redis, told, over)


def _encoded(latest: Told) -> dict[AttemptName, JobProgress]:
    return {
        name: JobProgress(
            progress.step,
            progress.steps,
            None if progress.preview is None else encode_preview(progress.preview),
        )
        for name, progress in latest.items()
    }
