"""What a worker process holds: one event loop in a thread of its own, and all that runs on it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from itertools import cycle
from typing import Any, Final, Self, TypeVar

import structlog
import uvloop

from common.messaging.announcer import Announcer
from common.messaging.cancellation import CancellationListener
from common.messaging.connection import connect
from common.messaging.doorbell import Doorbell
from common.object_store.storage import Storage
from common.outbound import Guard
from common.postgres.database import Database, is_unavailable
from common.postgres.repositories.jobs.workers import remove_worker
from common.runtime.status_server import StatusServer
from common.runtime.waiting import wait_for_event
from common.settings import Settings
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.interface import Engine
from worker.engine_pool import EnginePool
from worker.heartbeat import Heartbeat
from worker.progress import ProgressReporter
from worker.runner import Runner
from worker.stages import Stages

T = TypeVar("T")

# For transfers that were broken off to end by themselves, before the process ends without them.
CLOSING_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class WorkerProcess:
    """Everything is async and lives on one loop; Celery's threads only hand over and wait.

    The loop runs while the `with` block lasts; the block's end waits for the claims under way.
    `engine_stuck` says that the process is of no use any more, `threads_stuck` that some thread
    of it would not let it end; both are for whoever ends it.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        worker: str,
        queues: Sequence[str],
        stop_listening: Callable[[], object] = lambda: None,
    ) -> None:
        """Put the parts together; nothing is connected yet.

        `stop_listening` is called, from the loop's thread, when the engine is stuck.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        self._settings = settings
        self._database = Database(settings.database, application=f"infill-worker {worker}")
        self._redis = connect(settings.redis)
        self._guard = Guard(settings.outbound)
        self._storage = Storage(settings.storage)
        self._progresses = ProgressReporter(self._redis)
        self._engine = EnginePool(
            engine,
            self._progresses,
            seats=settings.worker.concurrency,
            stuck_seconds=settings.worker.stuck_seconds,
        )
        self._stages = Stages(self._guard, self._storage, self._engine, DecoderPool())
        self._heartbeat = Heartbeat(
            self._database, settings.jobs, worker=worker, queues=tuple(queues)
        )
        self._cancellations = CancellationListener(self._redis, self._heartbeat.canceled)
        self._announcer = Announcer(self._redis, Doorbell(self._redis, settings.redis))
        self._runner = Runner(
            self._database,
            self._stages,
            self._announcer,
            self._heartbeat,
            settings.jobs,
            settings.worker,
        )
        self._status = StatusServer(settings.telemetry, ready=self._ready)
        self._stop_listening = stop_listening
        self._leaving = asyncio.Event()
        self.threads_stuck = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)

    def __enter__(self) -> Self:
        """Start.

        Raises:
            ConfigurationError: the status port cannot be had.
        """
        self._thread.start()
        try:
            self._submit(self._start()).result()
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave, wait for the claims under way, and stop."""
        self._submit(self._stop()).result()
        self._end_loop()

    @property
    def engine_stuck(self) -> bool:
        """Whether the engine was told to stop and did not."""
        return self._engine.stuck.is_set()

    def look(self, queue: str) -> None:
        """Work while there is work; called from Celery's threads."""
        self._submit(self._look(queue)).result()

    def leave(self) -> None:
        """Claim nothing more, and give back what is not done in time; the second time, at once.

        Called from the thread that reads signals, at any time: it only schedules.
        """
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave)

    async def _start(self) -> None:
        await self._status.start()
        self._stages.start()
        self._looking = asyncio.create_task(self._look_unrung())
        self._until_the_end = [
            asyncio.create_task(work)
            for work in (
                self._heartbeat.run(),
                self._cancellations.run(),
                self._progresses.run(),
                self._leave_when_stuck(),
            )
        ]

    async def _look_unrung(self) -> None:
        """Look by ourselves now and then: work goes on while Redis is away, or its rings lost."""
        turns = cycle(self._heartbeat.queues)
        async with asyncio.TaskGroup() as looks:
            while not self._leaving.is_set():
                if self._runner.free_places:
                    looks.create_task(self._look(next(turns)))
                await wait_for_event(self._leaving, self._settings.jobs.sweep_seconds)

    async def _leave_when_stuck(self) -> None:
        await self._engine.stuck.wait()
        self._leave()
        self._runner.give_back()
        self._stop_listening()

    async def _look(self, queue: str) -> None:
        try:
            await self._runner.look(queue)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("look_failed", queue=queue)
            else:  # the next look, soon, may find it back
                self._heartbeat.postgres.missed(error)

    async def _ready(self) -> None:
        async with asyncio.timeout(self._settings.database.connect_timeout_seconds):
            await self._heartbeat.beat()

    def _leave(self) -> None:
        if self._leaving.is_set():
            self._runner.give_back()
            return
        log.info("worker_leaving", claims=self._heartbeat.held)
        self._leaving.set()
        self._runner.stop_claiming()
        self._loop.call_later(self._settings.worker.shutdown_seconds, self._runner.give_back)

    async def _stop(self) -> None:
        if not self._leaving.is_set():
            self._leave()
        await self._looking
        await self._heartbeat.idle()
        for task in self._until_the_end:
            task.cancel()
        await asyncio.gather(*self._until_the_end, return_exceptions=True)
        with contextlib.suppress(Exception):  # Postgres is away: our silence will say it
            async with self._database.statement() as connection:
                await remove_worker(connection, self._heartbeat.worker)
        # What rang while we were leaving was heard here, for nothing.
        await asyncio.gather(*(self._announcer.waiting(queue) for queue in self._heartbeat.queues))
        await self._status.stop()
        await self._guard.aclose()
        await self._redis.aclose()
        await self._database.aclose()
        await self._release_threads()

    async def _release_threads(self) -> None:
        """Wait for the threads, no longer than makes sense: a store may hang for minutes."""
        self.threads_stuck = self.engine_stuck
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await asyncio.to_thread(self._stages.close)
                await asyncio.to_thread(self._storage.close)
        except TimeoutError:
            log.warning("threads_left_behind")
            self.threads_stuck = True

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
