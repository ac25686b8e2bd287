"""Wake workers in the background, so that requests do not wait for Redis."""

from collections import Counter

from common.messaging.doorbell import Doorbell
from common.runtime.write_buffer import WriteBuffer


class WorkerNotifier:
    """Background sender of wake-up messages ("rings") to workers; a send batches what has come.

    Under load, many jobs share one round trip to Redis. Requests are not delayed if Redis hangs.
    """

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._rings = WriteBuffer(self._ring_all)

    def ring(self, queue: str) -> None:
        """Queue a ring that wakes one worker thread serving `queue`; call it after the commit."""
        self._rings.add(queue)

    async def aclose(self) -> None:
        """Wait until all queued rings have been sent or have failed."""
        await self._rings.flush()

    async def _ring_all(self, queues: list[str]) -> None:
        for queue, times in Counter(queues).items():
            await self._doorbell.ring_worker(queue, times)
