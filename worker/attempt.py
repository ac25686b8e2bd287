"""One attempt at a job: how long it may take, and what tells it to stop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from common.domain.errors import GenerationStoppedError, InfillError, RunTimeExceededError
from common.domain.record import JobRecord
from common.runtime.clock import monotonic, utc_now


class Attempt:
    """It stops for the first reason given: its claim is lost, its worker leaves, its time is over.

    Its time runs while it works and stands still while it waits for the engine: how long others
    take is no fault of its own. `reason` is written by the loop's thread and read by the
    engine's: a plain attribute is enough.
    """

    def __init__(self, job: JobRecord, *, max_run_seconds: float) -> None:
        self.job = job
        self.reason: InfillError | None = None
        self.has_images = False
        self.timeline: dict[str, float] = {}
        self._max_run_seconds = max_run_seconds
        self._remaining_seconds = max_run_seconds
        self._timeout: asyncio.Timeout | None = None

    def stop(self, reason: InfillError) -> None:
        """Tell it to stop; a later reason changes nothing."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._timeout is not None:
            self._timeout.reschedule(0)

    def stop_for_shutdown(self, *, grace_seconds: float) -> None:
        """Tell it that its worker leaves: with images, there is time left to store them."""
        reason = GenerationStoppedError("the worker is leaving")
        if self.has_images:
            asyncio.get_running_loop().call_later(grace_seconds, self.stop, reason)
        else:
            self.stop(reason)

    def should_stop(self) -> bool:
        """Tell whether it was told to stop."""
        return self.reason is not None

    def record_time(self, step: str) -> None:
        """Add the present time to the timeline, in unix seconds, as the end of a step."""
        self.timeline[step] = utc_now().timestamp()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Let its time run while the block lasts."""
        began = monotonic()
        over = asyncio.get_running_loop().call_later(
            self._remaining_seconds, self.stop, RunTimeExceededError(self._max_run_seconds)
        )
        try:
            yield
        finally:
            over.cancel()
            self._remaining_seconds -= monotonic() - began

    @asynccontextmanager
    async def interruptible(self) -> AsyncIterator[None]:
        """Break the block off when told to stop, and raise the reason."""
        self._timeout = asyncio.timeout(0 if self.should_stop() else None)
        try:
            async with self._timeout as block:
                yield
        except TimeoutError as error:
            if block.expired() and self.reason is not None:
                raise self.reason from error
            raise
        finally:
            self._timeout = None
