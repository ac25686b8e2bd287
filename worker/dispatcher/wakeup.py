"""Wake the dispatcher's claims: on a ring, at intervals, or when a slot becomes free."""

import asyncio
from contextlib import suppress
from typing import Final

from common.messaging.doorbell import Doorbell
from common.postgres.repositories.deliveries.origins import OriginKey
from common.runtime.availability import Availability
from common.runtime.clock import monotonic

# A transaction that was adding a delivery while a claim found its origin empty has committed by
# then.
RECHECK_SECONDS: Final = 0.05


class Wakeup:
    """Wakeups of the dispatcher, and the origins that the dispatcher must check again.

    Even without rings, the dispatcher is woken every `poll_seconds`, so that it finds retries that
    became due, and deliveries whose rings were lost while Redis was unavailable.
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
        """End the current wait at once, or the next one if none is in progress."""
        self._wakeup.set()

    def take_poll(self) -> bool:
        """Return whether a poll is due; if so, schedule the next one in `poll_seconds`."""
        now = monotonic()
        if now < self._next_poll:
            return False
        self._next_poll = now + self._poll_seconds
        return True

    def recheck_later(self, origins: set[OriginKey]) -> None:
        """Remember `origins` so that they are checked again soon.

        A claim found no more deliveries for them, but a transaction that was adding a delivery
        during the claim may commit shortly afterwards.
        """
        at = monotonic() + RECHECK_SECONDS
        for origin in origins:
            self._rechecks.setdefault(origin, at)

    def take_rechecks(self) -> list[OriginKey]:
        """Remove and return the remembered origins that are due to be checked again."""
        now = monotonic()
        due = [origin for origin, at in self._rechecks.items() if at <= now]
        for origin in due:
            del self._rechecks[origin]
        return due

    def clear(self) -> None:
        """Discard earlier wakeups, because deliveries are being claimed now."""
        self._wakeup.clear()

    async def wait(self, stop: asyncio.Task[bool], *, has_slots: bool) -> None:
        """Wait until there is a reason to claim deliveries, or `stop` is done.

        If `has_slots` is False, rings are left to other dispatchers.
        """
        if has_slots:
            self._has_slots.set()
        else:
            self._has_slots.clear()
        woken = asyncio.create_task(self._wakeup.wait())
        seconds = max(min(self._rechecks.values()) - monotonic(), 0) if self._rechecks else None
        await asyncio.wait({stop, woken}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    async def listen(self, stop: asyncio.Task[bool]) -> None:
        """Wake the dispatcher on every ring and every `poll_seconds`, until `stop` is done."""
        while not stop.done():
            ring = asyncio.create_task(self._wait_for_ring(stop))
            await asyncio.wait({stop, ring}, return_when=asyncio.FIRST_COMPLETED)
            ring.cancel()
            with suppress(asyncio.CancelledError):
                await ring

    async def _wait_for_ring(self, stop: asyncio.Task[bool]) -> None:
        await self._has_slots.wait()
        try:
            rung = await self._doorbell.wait_for_dispatcher_ring(self._poll_seconds)
        except Exception as error:  # noqa: BLE001 after any error polling goes on
            self._redis.mark_unavailable(error)
            # Not a mere sleep: the Redis client may have swallowed a cancellation that met its
            # own time-out.
            await asyncio.wait({stop}, timeout=self._poll_seconds)
        else:
            self._redis.mark_available()
            if rung and not self._has_slots.is_set():
                await self._doorbell.ring_dispatcher()
        self._wakeup.set()
