"""What a worker process holds: one event loop in a thread of its own, and all that runs on it."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import structlog

from common.broker.connection import connect
from common.broker.doorbell import Doorbell
from common.catalogue import load_catalogue
from common.database import Database
from common.outbound import Guard
from common.repositories.workers import say_goodbye
from common.settings import Settings
from common.storage import Storage
from worker.announcer import Announcer
from worker.generation.engine import Engine
from worker.heartbeat import Heartbeat
from worker.runner import Runner
from worker.stages import Stages
from worker.status import StatusServer

T = TypeVar("T")

START_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class Runtime:
    """Everything is async and lives on one loop; Celery's threads only hand over and wait."""

    def __init__(self, settings: Settings, engine: Engine, *, worker: str) -> None:
        self._settings = settings
        self._engine = engine
        self._worker = worker
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._background: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the loop and what runs on it.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        self._thread.start()
        self._submit(self._start()).result(START_SECONDS)

    def look(self, queue: str) -> int:
        """Work while there is work; called from Celery's threads."""
        return self._submit(self._runner.look(queue)).result()

    def stop_claiming(self) -> None:
        """Begin to leave: claim nothing more, and give back what is not done in time.

        Called from a signal handler: it only schedules.
        """
        self._loop.call_soon_threadsafe(self._leave)

    def close(self) -> None:
        """Stop what runs on the loop, then the loop."""
        self._submit(self._close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        settings = self._settings
        self._database = Database(settings.database, application=f"infill-worker {self._worker}")
        self._redis = connect(settings.redis)
        self._guard = Guard(settings.outbound)
        self._storage = Storage(settings.storage)
        self._stages = Stages(self._guard, self._storage, self._engine)
        self._heartbeat = Heartbeat(
            self._database,
            settings.jobs,
            worker=self._worker,
            queues=load_catalogue(settings.models).queues,
        )
        announcer = Announcer(self._redis, Doorbell(self._redis, settings.redis))
        self._runner = Runner(
            self._database, self._stages, announcer, self._heartbeat, settings.jobs
        )
        self._status = StatusServer(settings.telemetry, ready=self._ready)
        await self._status.start()
        for endless in (self._heartbeat.run(), self._look_unrung()):
            self._background.append(asyncio.create_task(endless))

    async def _look_unrung(self) -> None:
        """Look by ourselves now and then: work goes on while Redis is away, or its rings lost."""
        while True:
            if self._heartbeat.held == 0:
                try:
                    await self._runner.look(self._heartbeat.queues[0])
                except Exception as error:  # noqa: BLE001 Postgres is away: the next look may find it
                    log.warning("look_failed", error=type(error).__name__)
            await asyncio.sleep(self._settings.jobs.sweep_seconds)

    async def _ready(self) -> None:
        async with asyncio.timeout(self._settings.database.connect_timeout_seconds):
            await self._heartbeat.beat()

    def _leave(self) -> None:
        self._runner.stop_claiming()
        self._loop.call_later(self._settings.worker.shutdown_seconds, self._runner.give_back)

    async def _close(self) -> None:
        await self._heartbeat.idle()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        with contextlib.suppress(Exception):  # Postgres is away: our silence will say it
            async with self._database.statement() as connection:
                await say_goodbye(connection, self._worker)
        await self._status.stop()
        self._stages.close()
        self._storage.close()
        await self._guard.aclose()
        await self._redis.aclose()
        await self._database.aclose()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
