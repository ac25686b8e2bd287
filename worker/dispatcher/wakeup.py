"""When a dispatcher looks for deliveries: rung, when time is up, or when something tells it to."""

import asyncio
from contextlib import suppress
from typing import Final

from common.messaging.doorbell import Doorbell
from common.postgres.repositories.deliveries.origins import OriginKey
from common.runtime.availability import Availability
from common.runtime.clock import monotonic

# Who is just committing a delivery when a claim sees a line without has done so by then.
CROSSING_SECONDS: Final = 0.05


class Wakeup:
    """Waits for a reason to look at the rows, and remembers which lines want another look.

    Without rings there is a reason every `poll_seconds`: that finds what was rung for while Redis
    was away, and what has become due again.
    """

    def __init__(self, doorbell: Doorbell, poll_seconds: float) -> None:
        self._doorbell = doorbell
        self._poll_seconds = poll_seconds
        self._redis = Availability("redis")
        self._wanted = asyncio.Event()
        self._has_room = asyncio.Event()
        self._crossed: dict[OriginKey, float] = {}
        self._next_poll = 0.0

    def want(self) -> None:
        """Let the next wait end at once."""
        self._wanted.set()

    def is_time_to_poll(self) -> bool:
        """Tell, once in `poll_seconds`, that it is time."""
        now = monotonic()
        if now < self._next_poll:
            return False
        self._next_poll = now + self._poll_seconds
        return True

    def emptied(self, lines: set[OriginKey]) -> None:
        """Note lines in which nothing more was seen."""
        at = monotonic() + CROSSING_SECONDS
        for line in lines:
            self._crossed.setdefault(line, at)

    def crossed(self) -> list[OriginKey]:
        """Give the lines that are to be looked at again now, and forget them."""
        now = monotonic()
        due = [line for line, at in self._crossed.items() if at <= now]
        for line in due:
            del self._crossed[line]
        return due

    def begin(self) -> None:
        """Say that the rows are being looked at: only what comes from now on is news."""
        self._wanted.clear()

    async def until_worth_it(self, stop: asyncio.Task[bool], *, has_room: bool) -> None:
        """Wait for a reason to look, or for the end; rings are left for others without room."""
        if has_room:
            self._has_room.set()
        else:
            self._has_room.clear()
        wanted = asyncio.create_task(self._wanted.wait())
        seconds = max(min(self._crossed.values()) - monotonic(), 0) if self._crossed else None
        await asyncio.wait({stop, wanted}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()

    async def listen(self, stop: asyncio.Task[bool]) -> None:
        """Hear rings, and tell the time, until the end."""
        while not stop.done():
            heard = asyncio.create_task(self._hear(stop))
            await asyncio.wait({stop, heard}, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            with suppress(asyncio.CancelledError):
                await heard

    async def _hear(self, stop: asyncio.Task[bool]) -> None:
        await self._has_room.wait()
        try:
            rung = await self._doorbell.heard_by_dispatcher(self._poll_seconds)
        except Exception as error:  # noqa: BLE001 whatever the trouble, the time is told
            self._redis.missed(error)
            # Not a mere sleep: a cancellation that met the time-out of the Redis client is lost.
            await asyncio.wait({stop}, timeout=self._poll_seconds)
        else:
            self._redis.found()
            if rung and not self._has_room.is_set():
                await self._doorbell.ring_dispatcher()
        self._wanted.set()
