"""Which queue is asked for jobs first: by turns, rather one whose model is loaded."""

from collections.abc import Collection, Sequence


class QueueOrder:
    """Puts queues in order for a claim, which serves the first of them that has work.

    A queue whose model is loaded comes before one whose model would have to be loaded first, and
    perhaps push another out. But no queue is passed over for more than `patience_seconds`: then
    it comes first, and of several the one that was passed over for longest.

    Passed over is who was not asked because another, before it, had work. Who was asked has
    either been served or has nothing to be served.
    """

    def __init__(self, queues: Sequence[str], *, patience_seconds: float) -> None:
        self._queues = tuple(queues)
        self._patience_seconds = patience_seconds
        self._skipped_since: dict[str, float] = {}

    def order(self, first: str, loaded: Collection[str], now: float) -> list[str]:
        """Give all queues in the order to ask them in.

        It is the first of the queue `first`, and of those after it; `now` is in seconds. A queue
        has the name of its model, of which `loaded` are there.
        """
        start = self._queues.index(first) if first in self._queues else 0
        rotated = [*self._queues[start:], *self._queues[:start]]
        overdue = sorted(
            (
                queue
                for queue, since in self._skipped_since.items()
                if now - since >= self._patience_seconds
            ),
            key=self._skipped_since.__getitem__,
        )
        others = [queue for queue in rotated if queue not in overdue]
        # Sorting keeps the turns among those that are loaded, and among those that are not.
        return overdue + sorted(others, key=lambda queue: queue not in loaded)

    def record_claim(self, order: Sequence[str], served: str | None, now: float) -> None:
        """Take note that queues were asked in `order` up to the one served; None had work."""
        number = len(order) if served is None else order.index(served) + 1
        for queue in order[:number]:
            self._skipped_since.pop(queue, None)
        for queue in order[number:]:
            self._skipped_since.setdefault(queue, now)
