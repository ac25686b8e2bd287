"""The engine's threads: a thread for each attempt that draws, and what if the engine hangs."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from common.domain.errors import EngineLostError, InfillError
from common.runtime.clock import utc_now
from common.runtime.metrics import STAGE_SECONDS
from common.runtime.threads import run_in_thread
from worker.attempt import Attempt
from worker.engine.images.inputs import InputImages
from worker.engine.interface import Engine, GenerationResult, Progress
from worker.progress import ProgressReporter

log = structlog.get_logger(__name__)


class AttemptCallback:
    """See `worker.engine.interface.Watch`; made on the loop's thread.

    `begun` is done once the engine has begun, at `started_at` (unix seconds, None before).
    """

    def __init__(self, attempt: Attempt, progressed: Callable[[Progress], None]) -> None:
        """`progressed` takes what the engine tells of each step; it may not block."""
        self.started_at: float | None = None
        self._loop = asyncio.get_running_loop()
        self.has_started: asyncio.Future[None] = self._loop.create_future()
        self._attempt = attempt
        self._progressed = progressed

    def should_stop(self) -> bool:
        """Tell whether the attempt was told to stop."""
        return self._attempt.should_stop()

    def started(self) -> None:
        """Let the attempt's time run from now."""
        self.started_at = utc_now().timestamp()
        with suppress(RuntimeError):  # the loop is closed: a stuck engine has woken up
            self._loop.call_soon_threadsafe(self._set_started)

    def progressed(self, progress: Progress) -> None:
        """Pass it on."""
        self._progressed(progress)

    def _set_started(self) -> None:
        if not self.has_started.done():
            self.has_started.set_result(None)


class EnginePool:
    """Hands every attempt to the engine at once, each in a thread of its own.

    `threads` are as many as attempts are ever there together: in what order and company their
    images are result is the engine's to say. Nothing can end a thread that hangs in a driver's
    call. An engine that was told to drop an attempt and has not come back after `stuck_seconds`
    is lost, and with it the process: `stuck` is set. So it is when the engine says itself that
    its device is lost.
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

    @property
    def loaded(self) -> Collection[str]:
        """The models whose jobs can start at once."""
        return self._engine.loaded

    async def generate(self, attempt: Attempt, inputs: InputImages) -> GenerationResult:
        """Let the engine draw; the attempt's time stands still until the engine begins.

        Raises:
            InfillError: why the attempt was told to stop; or see `Engine.generate`.
        """
        with self._progress_reporter.track(attempt.job) as progressed:
            callback = AttemptCallback(attempt, progressed)
            generation = run_in_thread(
                self._threads, partial(self._generate, attempt, inputs, callback)
            )
            generation.add_done_callback(_retrieve_exception)
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
        """Release the threads, unless they are lost."""
        self._threads.shutdown(wait=not self.stuck.is_set())

    async def _wait_for_return(self, generation: asyncio.Future[GenerationResult]) -> None:
        """Wait until the engine has come back, or is known to be stuck."""
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
        attempt.timeline["generated"] = ended_at
        return result


async def _wait_for_any(*either: asyncio.Future[Any], seconds: float | None = None) -> None:
    """Wait until one of them is done, or the time is over."""
    await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _retrieve_exception(generation: asyncio.Future[GenerationResult]) -> None:
    """Take note of how it ended: nobody else does where the attempt was told to stop."""
    if not generation.cancelled():
        generation.exception()
