"""One attempt at a job: its run time limit, and the reason it was told to stop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from common.domain.errors import GenerationStoppedError, InfillError, RunTimeExceededError
from common.domain.record import JobRecord
from common.runtime.clock import monotonic, utc_now


class Attempt:
    """One attempt at a job, with its run time limit and the reason why it must stop, if any.

    It stops when its claim is lost, its worker shuts down or its run time is used up; if there are
    several reasons, the first is kept. Only time inside `timed()` counts as run time, so waiting
    for the engine does not. `reason` is written by the event loop's thread and read by the engine's
    threads; a plain attribute is enough for this. `timeline` maps the name of each finished step to
    the Unix time at which it ended.
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
        """Stop the attempt for `reason`, unless it is already stopped."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._timeout is not None:
            self._timeout.reschedule(0)

    def stop_for_shutdown(self, *, grace_seconds: float) -> None:
        """Stop the attempt because the worker is shutting down.

        If its images are already generated, it first has `grace_seconds` to store them.
        """
        reason = GenerationStoppedError("the worker is shutting down")
        if self.has_images:
            asyncio.get_running_loop().call_later(grace_seconds, self.stop, reason)
        else:
            self.stop(reason)

    def should_stop(self) -> bool:
        """Return whether the attempt has been stopped."""
        return self.reason is not None

    def record_time(self, step: str) -> None:
        """Record the current Unix time in the timeline under the name `step`."""
        self.timeline[step] = utc_now().timestamp()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the block's duration as run time; stop the attempt when it reaches the limit."""
        started = monotonic()
        limit = asyncio.get_running_loop().call_later(
            self._remaining_seconds, self.stop, RunTimeExceededError(self._max_run_seconds)
        )
        try:
            yield
        finally:
            limit.cancel()
            self._remaining_seconds -= monotonic() - started

    @asynccontextmanager
    async def interruptible(self) -> AsyncIterator[None]:
        """Cancel the block when the attempt is stopped, and raise the reason for the stop."""
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
