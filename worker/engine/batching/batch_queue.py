"""Who takes the next step: fair between shapes, and of one shape the oldest first."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


@dataclass(slots=True)
class _Group(Generic[Item]):
    """What may step together; `served` is the device's work it has received."""

    served: float
    cost: float
    members: dict[Item, None] = field(default_factory=dict)  # in the order they came


class FairBatchQueue(Generic[Item]):
    """Groups of items that fit into one batch, and the work each group has received.

    A batch holds one group alone, since tensors of different shapes do not stack. The group that
    has received the least goes next: so a crowd of small pictures does not hold up a large one,
    nor the other way round. A group that was empty begins level with the one served last, or
    with what it had received itself, if that was more: having been away earns no credit, and going
    away for a moment loses no debt. This is start-time fair queueing with a batch as the packet.
    """

    def __init__(self) -> None:
        self._groups: dict[Hashable, _Group[Item]] = {}
        self._debts: dict[Hashable, float] = {}  # of groups that are empty just now
        self._level = 0.0

    def __len__(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    def __bool__(self) -> bool:
        return bool(self._groups)

    def count(self, key: Hashable) -> int:
        """Give how many there are of a group."""
        group = self._groups.get(key)
        return 0 if group is None else len(group.members)

    def add(self, key: Hashable, item: Item, *, cost: float) -> None:
        """Put `item` behind those of its group; a step of it costs so much, in any one unit."""
        if key not in self._groups:
            served = max(self._level, self._debts.pop(key, 0.0))
            self._groups[key] = _Group(served, cost)
        self._groups[key].members[item] = None

    def remove(self, key: Hashable, item: Item) -> None:
        """Take `item` out, wherever it stands; one that is not there changes nothing."""
        group = self._groups.get(key)
        if group is None:
            return
        group.members.pop(item, None)
        if not group.members:
            del self._groups[key]
            self._debts[key] = group.served

    def next_batch(self, limit: Callable[[Hashable], int]) -> list[Item]:
        """Choose the items of the next step, at most `most(key)` of a group; none if none are.

        The choice counts as served.
        """
        if not self._groups:
            return []
        key, group = min(self._groups.items(), key=lambda entry: entry[1].served)
        self._level = group.served
        self._debts = {other: debt for other, debt in self._debts.items() if debt > self._level}
        chosen = list(group.members)[: max(1, limit(key))]
        group.served += group.cost * len(chosen)
        return chosen
