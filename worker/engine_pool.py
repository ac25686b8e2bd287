"""The engine's seats: a thread for each attempt that draws, and what if the engine hangs."""

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
        self.begun: asyncio.Future[None] = self._loop.create_future()
        self._attempt = attempt
        self._progressed = progressed

    def should_stop(self) -> bool:
        """Tell whether the attempt was told to stop."""
        return self._attempt.should_stop()

    def started(self) -> None:
        """Let the attempt's time run from now."""
        self.started_at = utc_now().timestamp()
        with suppress(RuntimeError):  # the loop is closed: a stuck engine has woken up
            self._loop.call_soon_threadsafe(self._begin)

    def progressed(self, progress: Progress) -> None:
        """Pass it on."""
        self._progressed(progress)

    def _begin(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)


class EnginePool:
    """Hands every attempt to the engine at once, each in a thread of its own.

    `seats` are as many as attempts are ever there together: in what order and company their
    images are drawn is the engine's to say. Nothing can end a thread that hangs in a driver's
    call. An engine that was told to drop an attempt and has not come back after `stuck_seconds`
    is lost, and with it the process: `stuck` is set. So it is when the engine says itself that
    its device is lost.
    """

    def __init__(
        self, engine: Engine, progresses: ProgressReporter, *, seats: int, stuck_seconds: float
    ) -> None:
        self.stuck = asyncio.Event()
        self._engine = engine
        self._progresses = progresses
        self._stuck_seconds = stuck_seconds
        self._threads = ThreadPoolExecutor(seats, thread_name_prefix="seat")

    @property
    def loaded(self) -> Collection[str]:
        """The models whose jobs can start at once."""
        return self._engine.loaded

    async def generate(self, attempt: Attempt, pixels: InputImages) -> GenerationResult:
        """Let the engine draw; the attempt's time stands still until the engine begins.

        Raises:
            InfillError: why the attempt was told to stop; or see `Engine.generate`.
        """
        with self._progresses.of(attempt.job) as progressed:
            watch = AttemptCallback(attempt, progressed)
            drawing = run_in_thread(self._threads, partial(self._generate, attempt, pixels, watch))
            drawing.add_done_callback(_heard)
            try:
                async with attempt.interruptible():
                    await _first_of(drawing, watch.begun)
                    with attempt.at_work():
                        await asyncio.wait({drawing})
            except InfillError:
                await self._back_from(drawing)
                raise
        drawn = self._result_of(drawing)
        attempt.has_images = True
        return drawn

    def close(self) -> None:
        """Release the threads, unless they are lost."""
        self._threads.shutdown(wait=not self.stuck.is_set())

    async def _back_from(self, drawing: asyncio.Future[GenerationResult]) -> None:
        """Wait until the engine has come back, or is known to be stuck."""
        stuck = asyncio.create_task(self.stuck.wait())
        await _first_of(drawing, stuck, seconds=self._stuck_seconds)
        stuck.cancel()
        if drawing.done() and isinstance(drawing.exception(), EngineLostError):
            self.stuck.set()
        if not drawing.done() and not self.stuck.is_set():
            log.error("engine_stuck", waited_seconds=self._stuck_seconds)
            self.stuck.set()

    def _result_of(self, drawing: asyncio.Future[GenerationResult]) -> GenerationResult:
        try:
            return drawing.result()
        except EngineLostError as error:
            log.error("engine_lost", detail=error.detail)  # noqa: TRY400 - its trace is torch's
            self.stuck.set()
            raise

    def _generate(
        self, attempt: Attempt, pixels: InputImages, watch: AttemptCallback
    ) -> GenerationResult:
        generated = self._engine.generate(attempt.job.request, pixels, watch)
        ended_at = utc_now().timestamp()
        started_at = watch.started_at or ended_at - generated.seconds
        STAGE_SECONDS.labels(stage="generate").observe(ended_at - started_at)
        attempt.timeline["generation_started"] = started_at
        attempt.timeline["generated"] = ended_at
        return generated


async def _first_of(*either: asyncio.Future[Any], seconds: float | None = None) -> None:
    """Wait until one of them is done, or the time is over."""
    await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _heard(drawing: asyncio.Future[GenerationResult]) -> None:
    """Take note of how it ended: nobody else does where the attempt was told to stop."""
    if not drawing.cancelled():
        drawing.exception()
