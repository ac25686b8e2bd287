"""The order in which a claim asks the queues for jobs: round robin, loaded models first."""

from collections.abc import Collection, Sequence


class QueueOrder:
    """The order of queues for a claim, which takes jobs from the first queue that has any.

    There is one queue for each model. A queue whose model is loaded comes before one whose model
    would have to be loaded, perhaps evicting another. A queue that has been skipped for
    `patience_seconds` comes before all others; if there are several such queues, the one skipped
    for longest comes first.

    A queue is skipped if it was not asked because an earlier queue had jobs. A queue that was asked
    was either served or empty.
    """

    def __init__(self, queues: Sequence[str], *, patience_seconds: float) -> None:
        self._queues = tuple(queues)
        self._patience_seconds = patience_seconds
        self._skipped_since: dict[str, float] = {}

    def order(self, first: str, loaded: Collection[str], now: float) -> list[str]:
        """Return all queues in the order in which a claim should try them.

        The round robin starts at queue `first`. Queues are named after their models; `loaded` holds
        the names of the models in memory. `now` is a monotonic clock reading in seconds.
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
        # Sorting is stable: it keeps the round robin among loaded and among other queues.
        return overdue + sorted(others, key=lambda queue: queue not in loaded)

    def record_claim(self, order: Sequence[str], served: str | None, now: float) -> None:
        """Record that the queues in `order` up to `served` were asked, or all if `served` is None.

        The queues after `served` count as skipped since `now` (seconds of a monotonic clock),
        unless they were skipped already.
        """
        number = len(order) if served is None else order.index(served) + 1
        for queue in order[:number]:
            self._skipped_since.pop(queue, None)
        for queue in order[number:]:
            self._skipped_since.setdefault(queue, now)
