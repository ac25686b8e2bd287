"""How many fit on the device at once, learnt from what they took."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from worker.engine.devices.device import Device

# Of the free memory, what a batch may take: the rest is for what the books do not see, such as
# workspaces of libraries and gaps between blocks.
USABLE_SHARE: Final = 0.85
# After so many batches in a row that fitted, one more is tried again: memory that was short may
# have belonged to a neighbour that has left.
SUCCESSES_BEFORE_GROWTH: Final = 200


@dataclass(slots=True)
class _Measured:
    """Of one kind of work: the largest batch measured, its bytes, and the most to be tried."""

    limit: int
    size: int = 0
    bytes: int = 0
    successes: int = 0


class BatchSizeLimiter:
    """Admission by measured memory, for each kind and shape of work by itself.

    What has never been measured is done for one alone first.
    """

    def __init__(self, device: Device, *, max_batch: int) -> None:
        """Let at most `max_batch` be done at once, whatever the memory."""
        self._device = device
        self._max_batch = max_batch
        self._measured: dict[Hashable, _Measured] = {}

    def limit(self, key: Hashable) -> int:
        """Give how many fit, 1 at least."""
        measured = self._measured.get(key)
        if measured is None or not measured.size:
            return 1
        if not measured.bytes:
            return measured.limit
        fit = self._device.free_bytes() * USABLE_SHARE * measured.size // measured.bytes
        return max(1, min(measured.limit, int(fit)))

    def record_success(self, key: Hashable, size: int, peak_bytes: int) -> None:
        """Learn from a batch that fitted; the larger a batch, the better it tells of others."""
        measured = self._measured.setdefault(key, _Measured(self._max_batch))
        if size > measured.size:
            measured.size, measured.bytes = size, peak_bytes
        elif size == measured.size and peak_bytes:
            # The least: what another thread took meanwhile may have been in the others.
            measured.bytes = min(measured.bytes, peak_bytes)
        if measured.limit < self._max_batch:
            measured.successes += 1
            if measured.successes >= SUCCESSES_BEFORE_GROWTH:
                measured.limit, measured.successes = measured.limit + 1, 0

    def record_out_of_memory(self, key: Hashable, size: int) -> None:
        """Learn that so many were too many."""
        measured = self._measured.setdefault(key, _Measured(self._max_batch))
        measured.limit, measured.successes = max(1, size // 2), 0
