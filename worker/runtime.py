"""What a worker process holds: one event loop in a thread of its own, and all that runs on it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import structlog
import uvloop

from common.broker.connection import connect
from common.broker.doorbell import Doorbell
from common.database import Database, is_unavailable
from common.outbound import Guard
from common.repositories.workers import say_goodbye
from common.settings import Settings
from common.storage import Storage
from worker.announcer import Announcer
from worker.generation.engine import Engine
from worker.heartbeat import Heartbeat
from worker.rest import rest
from worker.runner import Runner
from worker.stages import Stages
from worker.status import StatusServer

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Runtime:
    """Everything is async and lives on one loop; Celery's threads only hand over and wait.

    The loop runs while the `with` block lasts; the block's end waits for the claims under way.
    """

    def __init__(
        self, settings: Settings, engine: Engine, *, worker: str, queues: Sequence[str]
    ) -> None:
        """Put the parts together; nothing is connected yet.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        self._settings = settings
        self._database = Database(settings.database, application=f"infill-worker {worker}")
        self._redis = connect(settings.redis)
        self._guard = Guard(settings.outbound)
        self._storage = Storage(settings.storage)
        self._stages = Stages(self._guard, self._storage, engine)
        self._heartbeat = Heartbeat(
            self._database, settings.jobs, worker=worker, queues=tuple(queues)
        )
        self._announcer = Announcer(self._redis, Doorbell(self._redis, settings.redis))
        self._runner = Runner(
            self._database, self._stages, self._announcer, self._heartbeat, settings.jobs
        )
        self._status = StatusServer(settings.telemetry, ready=self._ready)
        self._leaving = asyncio.Event()
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

    def look(self, queue: str) -> None:
        """Work while there is work; called from Celery's threads."""
        self._submit(self._look(queue)).result()

    def leave(self) -> None:
        """Claim nothing more, and give back what is not done in time; the second time, at once.

        Called from a signal handler, at any time: it only schedules.
        """
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave)

    async def _start(self) -> None:
        await self._status.start()
        self._beating = asyncio.create_task(self._heartbeat.run())
        self._looking = asyncio.create_task(self._look_unrung())

    async def _look_unrung(self) -> None:
        """Look by ourselves now and then: work goes on while Redis is away, or its rings lost."""
        while not self._leaving.is_set():
            if self._heartbeat.held == 0:
                await self._look(self._heartbeat.queues[0])
            await rest(self._leaving, self._settings.jobs.sweep_seconds)

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
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)
        with contextlib.suppress(Exception):  # Postgres is away: our silence will say it
            async with self._database.statement() as connection:
                await say_goodbye(connection, self._heartbeat.worker)
        # What rang while we were leaving was heard here, for nothing.
        await asyncio.gather(*(self._announcer.waiting(queue) for queue in self._heartbeat.queues))
        await self._status.stop()
        self._stages.close()
        self._storage.close()
        await self._guard.aclose()
        await self._redis.aclose()
        await self._database.aclose()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
