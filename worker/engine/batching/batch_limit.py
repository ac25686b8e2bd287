"""The largest batch that fits into device memory, learnt from the memory use of earlier batches."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from worker.engine.devices.device import Device

# Share of the free memory that a batch may take: the rest is for memory that torch does not count,
# such as libraries' workspaces, and for fragmentation.
USABLE_SHARE: Final = 0.85
# After so many successful batches in a row the limit grows by one: the missing memory may have
# belonged to another process that has ended.
SUCCESSES_BEFORE_GROWTH: Final = 200


@dataclass(slots=True)
class _Measured:
    """Memory measurements of one kind and shape of work.

    `size` (items) and `bytes` (peak memory) describe the largest batch that has fitted so far.
    `limit` is the largest batch size to try. `successes` counts batches that fitted since `limit`
    was last changed.
    """

    limit: int
    size: int = 0
    bytes: int = 0
    successes: int = 0


class BatchSizeLimiter:
    """Limits batch sizes by measured memory, separately for each kind and shape of work.

    Work that has not been measured yet runs in a batch of one first.
    """

    def __init__(self, device: Device, *, max_batch: int) -> None:
        """Create a limiter; no batch exceeds `max_batch` items, however much memory is free."""
        self._device = device
        self._max_batch = max_batch
        self._measured: dict[Hashable, _Measured] = {}

    def limit(self, key: Hashable) -> int:
        """Return how many items under `key` may share the next batch: at least 1.

        The limit is 1 until the first batch under `key` has succeeded. After that it is estimated
        from the measured memory use and the free memory.
        """
        measured = self._measured.get(key)
        if measured is None or not measured.size:
            return 1
        if not measured.bytes:
            return measured.limit
        fit = self._device.free_bytes() * USABLE_SHARE * measured.size // measured.bytes
        return max(1, min(measured.limit, int(fit)))

    def record_success(self, key: Hashable, size: int, peak_bytes: int) -> None:
        """Record that a batch of `size` items fitted into memory, and its peak memory use.

        `peak_bytes` is 0 if the memory use was not measured.

        Later limits are computed from the largest batch recorded. A limit that was lowered because
        memory ran out is raised by one item after every 200 successes.
        """
        measured = self._measured.setdefault(key, _Measured(self._max_batch))
        if size > measured.size:
            measured.size, measured.bytes = size, peak_bytes
        elif size == measured.size and peak_bytes:
            # The minimum: other threads may have allocated memory during the other measurements.
            measured.bytes = min(measured.bytes, peak_bytes)
        if measured.limit < self._max_batch:
            measured.successes += 1
            if measured.successes >= SUCCESSES_BEFORE_GROWTH:
                measured.limit, measured.successes = measured.limit + 1, 0

    def record_out_of_memory(self, key: Hashable, size: int) -> None:
        """Record that a batch of `size` items did not fit, and set the limit to half of `size`."""
        measured = self._measured.setdefault(key, _Measured(self._max_batch))
        measured.limit, measured.successes = max(1, size // 2), 0
