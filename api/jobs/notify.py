"""Ringing workers in the background, so that no caller waits for Redis."""

from collections import Counter

from common.messaging.doorbell import Doorbell
from common.runtime.write_buffer import WriteBuffer


class WorkerNotifier:
    """Rings in the background; jobs recorded while one ring is under way share the next.

    Under load that is one exchange with Redis for many jobs, and a Redis that hangs delays no
    caller.
    """

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._rings = WriteBuffer(self._ring_all)

    def ring(self, queue: str) -> None:
        """Wake one thread of a worker that serves `queue`; call it after the commit."""
        self._rings.add(queue)

    async def aclose(self) -> None:
        """Wait until every ring asked for has gone out or was lost."""
        await self._rings.flush()

    async def _ring_all(self, queues: list[str]) -> None:
        for queue, times in Counter(queues).items():
            await self._doorbell.ring_worker(queue, times)
