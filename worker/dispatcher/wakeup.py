"""When a dispatcher looks for deliveries: rung, when time is up, or when something tells it to."""

import asyncio
from contextlib import suppress
from typing import Final

from common.messaging.doorbell import Doorbell
from common.postgres.repositories.deliveries.origins import OriginKey
from common.runtime.availability import Availability
from common.runtime.clock import monotonic

# Who is just committing a delivery when a claim sees a origin without has done so by then.
RECHECK_SECONDS: Final = 0.05


class Wakeup:
    """Waits for a reason to look at the rows, and remembers which origins want another look.

    Without rings there is a reason every `poll_seconds`: that finds what was rung for while Redis
    was away, and what has become due again.
    """

    def __init__(self, doorbell: Doorbell, poll_seconds: float) -> None:
        self._doorbell = doorbell
        self._poll_seconds = poll_seconds
        self._redis = Availability("redis")
        self._wakeup = asyncio.Event()
        self._has_slots = asyncio.Event()
        self._rechecks: dict[OriginKey, float] = {}
        self._next_poll = 0.0

    def wake(self) -> None:
        """Let the next wait end at once."""
        self._wakeup.set()

    def take_poll(self) -> bool:
        """Tell, once in `poll_seconds`, that it is time."""
        now = monotonic()
        if now < self._next_poll:
            return False
        self._next_poll = now + self._poll_seconds
        return True

    def recheck_later(self, origins: set[OriginKey]) -> None:
        """Note origins in which nothing more was seen."""
        at = monotonic() + RECHECK_SECONDS
        for origin in origins:
            self._rechecks.setdefault(origin, at)

    def take_rechecks(self) -> list[OriginKey]:
        """Give the origins that are to be looked at again now, and forget them."""
        now = monotonic()
        due = [origin for origin, at in self._rechecks.items() if at <= now]
        for origin in due:
            del self._rechecks[origin]
        return due

    def clear(self) -> None:
        """Say that the rows are being looked at: only what comes from now on is news."""
        self._wakeup.clear()

    async def wait(self, stop: asyncio.Task[bool], *, has_slots: bool) -> None:
        """Wait for a reason to look, or for the end; rings are left for others without room."""
        if has_slots:
            self._has_slots.set()
        else:
            self._has_slots.clear()
        woken = asyncio.create_task(self._wakeup.wait())
        seconds = max(min(self._rechecks.values()) - monotonic(), 0) if self._rechecks else None
        await asyncio.wait({stop, woken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    async def listen(self, stop: asyncio.Task[bool]) -> None:
        """Hear rings, and tell the time, until the end."""
        while not stop.done():
            heard = asyncio.create_task(self._wait_for_ring(stop))
            await asyncio.wait({stop, heard}, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            with suppress(asyncio.CancelledError):
                await heard

    async def _wait_for_ring(self, stop: asyncio.Task[bool]) -> None:
        await self._has_slots.wait()
        try:
            rung = await self._doorbell.wait_for_dispatcher_ring(self._poll_seconds)
        except Exception as error:  # noqa: BLE001 whatever the trouble, the time is told
            self._redis.mark_unavailable(error)
            # Not a mere sleep: a cancellation that met the time-out of the Redis client is lost.
            await asyncio.wait({stop}, timeout=self._poll_seconds)
        else:
            self._redis.mark_available()
            if rung and not self._has_slots.is_set():
                await self._doorbell.ring_dispatcher()
        self._wakeup.set()
