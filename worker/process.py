"""The parts of a worker process, on one event loop in its own thread."""

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
from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.postgres.repositories.jobs.workers import delete_worker
from common.runtime.asyncio_tools import wait_for_event
from common.runtime.status_server import StatusServer
from common.settings import Settings
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.interface import Engine
from worker.engine_pool import EnginePool
from worker.heartbeat import Heartbeat
from worker.image_store.store import ImageStore
from worker.image_transfers import ImageTransfers
from worker.progress import ProgressReporter
from worker.runner import Runner

T = TypeVar("T")

# How long an ending process waits for interrupted transfers to end in their threads.
CLOSING_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class WorkerProcess:
    """All parts of a worker, on one event loop; Celery's threads only wait for results.

    The loop runs during the `with` block; leaving the block waits for the running jobs. Afterwards
    `engine_stuck` means that the process must be replaced, and `threads_stuck` that a thread would
    keep the interpreter from exiting.
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
        """Create the parts without connecting to anything.

        `worker` is the worker's name, `queues` are the queues it serves. `stop_listening` is called
        from the loop's thread when the engine is stuck.

        Raises:
            ConfigurationError: a setting is invalid.
        """
        self._settings = settings
        self._database = Database(settings.database, application=f"infill-worker {worker}")
        self._redis = connect(settings.redis)
        self._guard = Guard(settings.outbound)
        self._storage = Storage(settings.storage)
        self._progress_reporter = ProgressReporter(self._redis)
        self._engine_pool = EnginePool(
            engine,
            self._progress_reporter,
            threads=settings.worker.concurrency,
            stuck_seconds=settings.worker.stuck_seconds,
        )
        self._transfers = ImageTransfers(
            self._guard, ImageStore(self._storage, settings.worker), DecoderPool()
        )
        self._heartbeat = Heartbeat(
            self._database, settings.jobs, worker=worker, queues=tuple(queues)
        )
        self._cancellations = CancellationListener(self._redis, self._heartbeat.on_job_canceled)
        self._announcer = Announcer(self._redis, Doorbell(self._redis, settings.redis))
        self._runner = Runner(
            self._database,
            self._transfers,
            self._engine_pool,
            self._announcer,
            self._heartbeat,
            settings.jobs,
            settings.worker,
        )
        self._status = StatusServer(settings.telemetry, ready=self._ready)
        self._stop_listening = stop_listening
        self._stopping = asyncio.Event()
        self._runs: set[asyncio.Task[None]] = set()
        self.threads_stuck = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)

    def __enter__(self) -> Self:
        """Start the event loop and the background tasks, and return this process.

        Raises:
            ConfigurationError: the status port is in use or not permitted.
        """
        self._thread.start()
        try:
            self._submit(self._start()).result()
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """Shut down: wait for the running jobs, then stop the loop."""
        self._submit(self._stop()).result()
        self._end_loop()

    @property
    def engine_stuck(self) -> bool:
        """Whether the engine did not stop when told to, or has lost its device."""
        return self._engine_pool.stuck.is_set()

    def claim_waiting_jobs(self, queue: str) -> None:
        """Start to run waiting jobs, `queue` first; block the calling thread for the first claim.

        The event loop runs the claimed jobs, and claims others until none are left.
        """
        self._submit(self._claim_waiting_jobs(queue)).result()

    def count_free_slots(self) -> int:
        """Return how many jobs this worker has room for, of a tenant of which it prepares none."""
        return self._runner.slots.free

    def begin_shutdown(self) -> None:
        """Stop claiming, and release the jobs that are not done within `shutdown_seconds`.

        A second call releases them at once. The thread that reads signals may call this at any
        time, because it only schedules the work on the event loop.
        """
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin_shutdown)

    async def _start(self) -> None:
        await self._status.start()
        self._transfers.start()
        self._polling = asyncio.create_task(self._poll_queues())
        self._background_tasks = [
            asyncio.create_task(work)
            for work in (
                self._heartbeat.run(),
                self._cancellations.run(),
                self._progress_reporter.run(),
                self._shut_down_when_stuck(),
            )
        ]

    async def _poll_queues(self) -> None:
        """Run waiting jobs every `sweep_seconds` even without a ring, because rings may be lost."""
        queues = cycle(self._heartbeat.queues)
        async with asyncio.TaskGroup() as runs:
            while not self._stopping.is_set():
                if self._runner.slots.free:
                    runs.create_task(self._run_waiting_jobs(next(queues)))
                await wait_for_event(self._stopping, self._settings.jobs.sweep_seconds)
                await self._runner.slots.wait_while_paused()

    async def _shut_down_when_stuck(self) -> None:
        await self._engine_pool.stuck.wait()
        self._begin_shutdown()
        self._runner.release_jobs()
        self._stop_listening()

    async def _claim_waiting_jobs(self, queue: str) -> None:
        claimed = asyncio.Event()
        run = asyncio.create_task(self._run_waiting_jobs(queue, claimed))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        await claimed.wait()

    async def _run_waiting_jobs(self, queue: str, claimed: asyncio.Event | None = None) -> None:
        try:
            await self._runner.run_waiting_jobs(queue, claimed=claimed)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("job_loop_failed", queue=queue)
            else:  # it is tried again soon
                self._heartbeat.postgres.mark_unavailable(error)
        finally:
            if claimed is not None:
                claimed.set()

    async def _ready(self) -> None:
        async with asyncio.timeout(self._settings.database.connect_timeout_seconds):
            await self._heartbeat.renew_leases()

    def _begin_shutdown(self) -> None:
        if self._stopping.is_set():
            self._runner.release_jobs()
            return
        log.info("worker_stopping", claims=self._heartbeat.claim_count)
        self._stopping.set()
        self._runner.stop_claiming()
        self._loop.call_later(self._settings.worker.shutdown_seconds, self._runner.release_jobs)

    async def _stop(self) -> None:
        if not self._stopping.is_set():
            self._begin_shutdown()
        await self._polling
        await asyncio.gather(*self._runs)
        await self._heartbeat.wait_until_idle()
        for task in self._background_tasks:
            task.cancel()
        await asyncio.gather(*self._background_tasks, return_exceptions=True)
        with contextlib.suppress(
            Exception
        ):  # Postgres is unavailable: the sweeper removes silent workers
            async with self._database.statement() as connection:
                await delete_worker(connection, self._heartbeat.worker)
        # Rings received during the shutdown had no effect here: pass them on.
        await asyncio.gather(
            *(self._announcer.announce_queued(queue) for queue in self._heartbeat.queues)
        )
        await self._status.stop()
        await self._guard.aclose()
        await self._redis.aclose()
        await self._database.aclose()
        await self._close_threads()

    async def _close_threads(self) -> None:
        """Wait for the threads, but at most `CLOSING_SECONDS`: a store may hang for minutes."""
        self.threads_stuck = self.engine_stuck
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await asyncio.to_thread(self._engine_pool.close)
                await asyncio.to_thread(self._transfers.close)
                await asyncio.to_thread(self._storage.close)
        except TimeoutError:
            log.warning("threads_abandoned")
            self.threads_stuck = True

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
