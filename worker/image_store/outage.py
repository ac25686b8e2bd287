"""State of an outage of the object store: pauses between tries, and whether claims are paused."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from common.domain.errors import StorageOutageError
from common.runtime.asyncio_tools import wait_for_event
from common.runtime.availability import Availability
from common.runtime.clock import monotonic

FIRST_PAUSE_SECONDS: Final = 0.5
# An outage that begins sooner after the previous one is not logged again.
LOG_INTERVAL_SECONDS: Final = 30.0


class StoreOutage:
    """Circuit breaker of the object store: it opens at a failed transfer, and closes at an upload.

    While it is open, the pauses between two tries double up to `longest_pause` seconds, and each
    is shortened by up to a half at random, so that workers do not try all at once.
    """

    def __init__(self, *, longest_pause: float) -> None:
        self._longest_pause = longest_pause
        self._pause = 0.0
        self._next_try_at = 0.0
        self._over = asyncio.Event()
        self._over.set()
        self._availability = Availability("object_store")
        self._logged_at = -LOG_INTERVAL_SECONDS
        self._pause_claims: Callable[[float], object] = lambda _seconds: None
        self._resume_claims: Callable[[], object] = lambda: None

    @property
    def is_active(self) -> bool:
        """Whether the last upload failed, or an image could not be read since."""
        return not self._over.is_set()

    def control_claims(
        self, pause: Callable[[float], object], resume: Callable[[], object]
    ) -> None:
        """Call `pause` after each failure, with the seconds until a next try, and `resume` after.

        A worker that holds no job has nothing to upload. Its next try is a new claim.
        """
        self._pause_claims, self._resume_claims = pause, resume

    def record_failure(self, error: StorageOutageError) -> None:
        """Begin an outage, or double the pause if this was the next try after the previous pause.

        Other tries had begun before, and change nothing.
        """
        now = monotonic()
        if not self.is_active:
            self._over.clear()
            self._pause = FIRST_PAUSE_SECONDS
            self._log_beginning(error)
        elif now < self._next_try_at:
            return
        else:
            self._pause *= 2
        self._pause = min(self._pause, self._longest_pause)
        jittered = self._pause * random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._next_try_at = now + jittered
        self._pause_claims(jittered)

    def record_success(self) -> None:
        """End the outage, if there is one, because an image was stored."""
        if self.is_active:
            self._over.set()
            self._availability.mark_available()
            self._resume_claims()

    async def wait_for_next_try(self) -> None:
        """Wait until the outage is over, or until the store may be tried again."""
        await wait_for_event(self._over, self._next_try_at - monotonic())

    def _log_beginning(self, error: StorageOutageError) -> None:
        if monotonic() - self._logged_at >= LOG_INTERVAL_SECONDS:
            self._logged_at = monotonic()
            self._availability.mark_unavailable(error)
