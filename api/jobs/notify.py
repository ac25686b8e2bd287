"""Ring workers in the background, so that no caller waits for Redis."""

import asyncio
from collections import Counter

from common.messaging.doorbell import Doorbell


class WorkerNotifier:
    """Batches rings: those requested during a round trip to Redis share the next one."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._pending: Counter[str] = Counter()
        self._ringing: asyncio.Task[None] | None = None

    def ring(self, queue: str) -> None:
        """Wake one thread of a worker that serves `queue`; call it after the commit."""
        self._pending[queue] += 1
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring_pending())

    async def aclose(self) -> None:
        """Wait until every requested ring was sent or lost."""
        if self._ringing is not None:
            await self._ringing

    async def _ring_pending(self) -> None:
        while self._pending:
            pending, self._pending = self._pending, Counter()
            for queue, times in pending.items():
                await self._doorbell.ring_worker(queue, times)
