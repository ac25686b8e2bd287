"""Ringing workers without keeping callers waiting for Redis."""

import asyncio
from collections import Counter

from common.messaging.doorbell import Doorbell


class WorkerNotifier:
    """Rings in the background; jobs recorded while one ring is under way share the next.

    Under load that is one exchange with Redis for many jobs, and while Redis hangs no caller
    is made to hang with it.
    """

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._wanted: Counter[str] = Counter()
        self._ringing: asyncio.Task[None] | None = None

    def ring(self, queue: str) -> None:
        """Wake one thread of a worker that serves `queue`; call it after the commit."""
        self._wanted[queue] += 1
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring_all())

    async def aclose(self) -> None:
        """Wait until every ring asked for has gone out or was lost."""
        if self._ringing is not None:
            await self._ringing

    async def _ring_all(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, Counter()
            for queue, times in wanted.items():
                await self._doorbell.ring_worker(queue, times)
