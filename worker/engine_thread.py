"""The engine's one thread: whose turn it is, and what if the engine does not come back."""

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from common.clock import utc_now
from common.metrics import STAGE_SECONDS
from worker.attempt import Attempt
from worker.generation.engine import Engine, Generated, Unwatched
from worker.generation.pixels import Pixels
from worker.threads import in_thread

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the engine gave, and when (unix seconds) it started and ended."""

    generated: Generated
    started_at: float
    ended_at: float


class Looker(Unwatched):
    """Looks on for an attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def should_stop(self) -> bool:
        """Tell whether the attempt was told to stop."""
        return self._attempt.should_stop()


class EngineThread:
    """Lends the engine to one attempt after the other, in the order they came.

    Nothing can end a thread that hangs in a driver's call. An engine that was told to stop and
    has not come back after `stuck_seconds` is lost, and with it the process: `stuck` is set, and
    nobody gets a turn again.
    """

    def __init__(self, engine: Engine, *, stuck_seconds: float) -> None:
        self.stuck = asyncio.Event()
        self._engine = engine
        self._stuck_seconds = stuck_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._turn = asyncio.Lock()

    @property
    def loaded(self) -> Collection[str]:
        """The models whose jobs can start at once."""
        return self._engine.loaded

    async def draw(self, attempt: Attempt, pixels: Pixels) -> Drawn:
        """Wait for the engine and let it draw.

        Raises:
            InfillError: why the attempt was told to stop; or see `Engine.generate`.
        """
        async with attempt.interruptible():
            await self._turn.acquire()
        try:
            return await self._take_turn(attempt, pixels)
        finally:
            if not self.stuck.is_set():
                self._turn.release()

    def close(self) -> None:
        """Release the thread, unless it is lost."""
        self._thread.shutdown(wait=not self.stuck.is_set())

    async def _take_turn(self, attempt: Attempt, pixels: Pixels) -> Drawn:
        drawing = in_thread(self._thread, partial(self._draw, attempt, pixels))
        drawing.add_done_callback(_heard)
        told = asyncio.create_task(attempt.told_to_stop())
        either: set[asyncio.Future[Any]] = {drawing, told}
        try:
            with attempt.at_work():
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        if not drawing.done():
            await asyncio.wait({drawing}, timeout=self._stuck_seconds)
        if not drawing.done():
            log.error("engine_stuck", waited_seconds=self._stuck_seconds)
            self.stuck.set()
        if attempt.reason is not None:
            raise attempt.reason
        drawn = drawing.result()
        attempt.has_images = True
        return drawn

    def _draw(self, attempt: Attempt, pixels: Pixels) -> Drawn:
        started_at = utc_now().timestamp()
        with STAGE_SECONDS.labels(stage="generate").time():
            generated = self._engine.generate(attempt.job.request, pixels, Looker(attempt))
        return Drawn(generated, started_at, utc_now().timestamp())


def _heard(drawing: asyncio.Future[Drawn]) -> None:
    """Take note of how it ended: nobody else does where the attempt was told to stop."""
    if not drawing.cancelled():
        drawing.exception()
