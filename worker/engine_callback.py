"""Looking on at the engine for one attempt: it is called from the engine's threads."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from common.runtime.clock import utc_now
from worker.attempt import Attempt
from worker.engine.interface import Progress


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

    def on_start(self) -> None:
        """Let the attempt's time run from now."""
        self.started_at = utc_now().timestamp()
        with suppress(RuntimeError):  # the loop is closed: a stuck engine has woken up
            self._loop.call_soon_threadsafe(self._begin)

    def on_step(self, progress: Progress) -> None:
        """Pass it on."""
        self._progressed(progress)

    def _begin(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
