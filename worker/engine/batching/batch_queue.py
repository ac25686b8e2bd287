"""Choose the next batch: fair between groups, and in order of arrival within a group."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


@dataclass(slots=True)
class _Group(Generic[Item]):
    """Items that can share a batch.

    `served` is the total cost of the batches taken from the group so far; `cost` is the cost of one
    step of one item.
    """

    served: float
    cost: float
    members: dict[Item, None] = field(default_factory=dict)  # in order of arrival


class FairBatchQueue(Generic[Item]):
    """Queue of items in groups; a batch is taken from the group that has received the least work.

    A batch holds items of one group only, since tensors of different shapes cannot be stacked.
    Choosing the least served group prevents many small images from delaying a large one, and vice
    versa. A group that was empty restarts at the work level of the group served last, or at its own
    level if that is higher, so that being empty neither earns a group credit nor erases the work it
    has received. This is start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with a batch
    as the packet.
    """

    def __init__(self) -> None:
        self._groups: dict[Hashable, _Group[Item]] = {}
        self._debts: dict[Hashable, float] = {}  # of groups that are empty
        self._level = 0.0

    def __len__(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    def __bool__(self) -> bool:
        return bool(self._groups)

    def count(self, key: Hashable) -> int:
        """Return the number of items in the group `key`."""
        group = self._groups.get(key)
        return 0 if group is None else len(group.members)

    def add(self, key: Hashable, item: Item, *, cost: float) -> None:
        """Append `item` to the group `key`, which is created if it does not exist.

        `cost` is the work of one denoising step of the item, in any unit that all groups share. All
        items of a group must have the same cost.
        """
        if key not in self._groups:
            served = max(self._level, self._debts.pop(key, 0.0))
            self._groups[key] = _Group(served, cost)
        self._groups[key].members[item] = None

    def remove(self, key: Hashable, item: Item) -> None:
        """Remove `item` from the group `key`; do nothing if it is not there."""
        group = self._groups.get(key)
        if group is None:
            return
        group.members.pop(item, None)
        if not group.members:
            del self._groups[key]
            self._debts[key] = group.served

    def next_batch(self, limit: Callable[[Hashable], int]) -> list[Item]:
        """Return the oldest items of the least served group, at most `limit(key)` of them.

        The items stay queued; their cost is added to the group's work. Return an empty list if the
        queue is empty.
        """
        if not self._groups:
            return []
        key, group = min(self._groups.items(), key=lambda entry: entry[1].served)
        self._level = group.served
        self._debts = {other: debt for other, debt in self._debts.items() if debt > self._level}
        chosen = list(group.members)[: max(1, limit(key))]
        group.served += group.cost * len(chosen)
        return chosen
