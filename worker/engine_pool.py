"""The thread pool that calls the engine, and the detection of an engine that hangs."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any

import structlog

from common.domain.errors import EngineLostError, InfillError
from common.runtime.asyncio_tools import run_in_thread
from common.runtime.clock import utc_now
from common.runtime.metrics import STAGE_SECONDS
from worker.attempt import Attempt
from worker.engine.images.inputs import InputImages
from worker.engine.interface import Engine, GenerationResult, Progress
from worker.progress import ProgressReporter

log = structlog.get_logger(__name__)


class AttemptCallback:
    """The engine's callback for one attempt; called from the engine's own threads.

    The future `has_started` is done once the engine has started to work on the attempt, and
    `started_at` is then the Unix time of the start (None before). `denoised_at` is the Unix time of
    the last step, after which the images are decoded. Implements
    `worker.engine.interface.GenerationCallback`.
    """

    def __init__(self, attempt: Attempt, progressed: Callable[[Progress], None]) -> None:
        """Create the callback on the event loop's thread.

        `progressed` is called with the progress of each step and must not block.
        """
        self.started_at: float | None = None
        self.denoised_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self.has_started: asyncio.Future[None] = self._loop.create_future()
        self._attempt = attempt
        self._progressed = progressed

    def should_stop(self) -> bool:
        """Return whether the attempt has been stopped."""
        return self._attempt.should_stop()

    def on_start(self) -> None:
        """Record that the engine has started; the attempt's run time counts from now on."""
        self.started_at = utc_now().timestamp()
        with suppress(RuntimeError):  # the loop is closed: a stuck engine returned after all
            self._loop.call_soon_threadsafe(self._set_started)

    def on_step(self, progress: Progress) -> None:
        """Pass the progress of a step to the function `progressed`."""
        if progress.step == progress.steps and self.denoised_at is None:
            self.denoised_at = utc_now().timestamp()
        self._progressed(progress)

    def _set_started(self) -> None:
        if not self.has_started.done():
            self.has_started.set_result(None)


class EnginePool:
    """Thread pool that hands attempts to the engine; the engine batches them.

    There are as many threads as attempts in the engine at once; further attempts wait in order of
    arrival, which does not count as run time. A thread that hangs in a driver call cannot be
    ended. So if the engine does not return within `stuck_seconds` of being told to stop, the event
    `stuck` is set, and the process must be replaced. `stuck` is also set when the engine reports
    that its device is lost.
    """

    def __init__(
        self,
        engine: Engine,
        progress_reporter: ProgressReporter,
        *,
        threads: int,
        stuck_seconds: float,
    ) -> None:
        self.stuck = asyncio.Event()
        self._engine = engine
        self._progress_reporter = progress_reporter
        self._stuck_seconds = stuck_seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="engine")
        # Acquired before a thread, so that an attempt stopped while it waits leaves at once.
        self._free_threads = asyncio.Semaphore(threads)

    @property
    def loaded(self) -> Collection[str]:
        """The names of the models in memory, whose jobs can start at once."""
        return self._engine.loaded

    def track_progress(self, attempt: Attempt) -> AbstractContextManager[None]:
        """Delete the progress of `attempt` after the block, which also stores the images."""
        return self._progress_reporter.track(attempt.job)

    async def generate(self, attempt: Attempt, inputs: InputImages) -> GenerationResult:
        """Generate the images of `attempt`; waiting for the engine does not count as run time.

        Raises:
            InfillError: the reason why the attempt was stopped, or an error of `Engine.generate`.
        """
        async with attempt.interruptible():
            await self._free_threads.acquire()
        callback = AttemptCallback(attempt, self._progress_reporter.callback(attempt.job))
        generation = run_in_thread(
            self._threads, partial(self._generate, attempt, inputs, callback)
        )
        generation.add_done_callback(_retrieve_exception)
        generation.add_done_callback(lambda _: self._free_threads.release())
        try:
            async with attempt.interruptible():
                await _wait_for_any(generation, callback.has_started)
                with attempt.timed():
                    await asyncio.wait({generation})
        except InfillError:
            await self._wait_for_return(generation)
            raise
        result = self._result_of(generation)
        attempt.has_images = True
        return result

    def close(self) -> None:
        """Wait for the threads to end; return at once if the engine is stuck."""
        self._threads.shutdown(wait=not self.stuck.is_set())

    async def _wait_for_return(self, generation: asyncio.Future[GenerationResult]) -> None:
        """Wait until the engine returns from a stopped attempt; mark it stuck if it does not."""
        stuck = asyncio.create_task(self.stuck.wait())
        await _wait_for_any(generation, stuck, seconds=self._stuck_seconds)
        stuck.cancel()
        if generation.done() and isinstance(generation.exception(), EngineLostError):
            self.stuck.set()
        if not generation.done() and not self.stuck.is_set():
            log.error("engine_stuck", waited_seconds=self._stuck_seconds)
            self.stuck.set()

    def _result_of(self, generation: asyncio.Future[GenerationResult]) -> GenerationResult:
        try:
            return generation.result()
        except EngineLostError as error:
            log.error("engine_lost", detail=error.detail)  # noqa: TRY400 - its trace is torch's
            self.stuck.set()
            raise

    def _generate(
        self, attempt: Attempt, inputs: InputImages, callback: AttemptCallback
    ) -> GenerationResult:
        result = self._engine.generate(attempt.job.request, inputs, callback)
        ended_at = utc_now().timestamp()
        started_at = callback.started_at or ended_at - result.seconds
        STAGE_SECONDS.labels(stage="generate").observe(ended_at - started_at)
        attempt.timeline["generation_started"] = started_at
        if callback.denoised_at is not None:
            attempt.timeline["denoised"] = callback.denoised_at
        attempt.timeline["generated"] = ended_at
        return result


async def _wait_for_any(*futures: asyncio.Future[Any], seconds: float | None = None) -> None:
    """Wait until one of `futures` is done, or `seconds` have passed (None: no limit)."""
    await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _retrieve_exception(generation: asyncio.Future[GenerationResult]) -> None:
    """Mark the exception as retrieved, because nothing else reads it if the attempt was stopped.

    Otherwise asyncio would log that the exception was never retrieved.
    """
    if not generation.cancelled():
        generation.exception()
