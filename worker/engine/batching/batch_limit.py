"""How many fit on the device at once, learnt from what they took."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from worker.engine.devices.device import Device

# Of the free memory, what a batch may take: the rest is for what the books do not see, such as
# workspaces of libraries and gaps between blocks.
USABLE_PART: Final = 0.85
# After so many batches in a row that fitted, one more is tried again: memory that was short may
# have belonged to a neighbour that has left.
FITTED_BEFORE_GROWTH: Final = 200


@dataclass(slots=True)
class _Known:
    """Of one kind of work: the largest batch measured, its bytes, and the most to be tried."""

    most: int
    number: int = 0
    bytes: int = 0
    fitted: int = 0


class BatchSizeLimiter:
    """Admission by measured memory, for each kind and shape of work by itself.

    What has never been measured is done for one alone first.
    """

    def __init__(self, device: Device, *, most: int) -> None:
        """Let at most `most` be done at once, whatever the memory."""
        self._device = device
        self._most = most
        self._known: dict[Hashable, _Known] = {}

    def of(self, key: Hashable) -> int:
        """Give how many fit, 1 at least."""
        known = self._known.get(key)
        if known is None or not known.number:
            return 1
        if not known.bytes:
            return known.most
        fit = self._device.free_bytes() * USABLE_PART * known.number // known.bytes
        return max(1, min(known.most, int(fit)))

    def fitted(self, key: Hashable, number: int, peak_bytes: int) -> None:
        """Learn from a batch that fitted; the larger a batch, the better it tells of others."""
        known = self._known.setdefault(key, _Known(self._most))
        if number > known.number:
            known.number, known.bytes = number, peak_bytes
        elif number == known.number and peak_bytes:
            # The least: what another thread took meanwhile may have been in the others.
            known.bytes = min(known.bytes, peak_bytes)
        if known.most < self._most:
            known.fitted += 1
            if known.fitted >= FITTED_BEFORE_GROWTH:
                known.most, known.fitted = known.most + 1, 0

    def burst(self, key: Hashable, number: int) -> None:
        """Learn that so many were too many."""
        known = self._known.setdefault(key, _Known(self._most))
        known.most, known.fitted = max(1, number // 2), 0
