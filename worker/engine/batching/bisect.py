"""Batched work in which a failing item does not fail the other items of its batch."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias, TypeVar

import structlog

from common.domain.errors import InfillError
from worker.engine.batching.batch_limit import BatchSizeLimiter
from worker.engine.devices.device import Device
from worker.engine.errors import is_out_of_memory, to_infill_error

In = TypeVar("In")
Out = TypeVar("Out")
# The result or the error of one item.
Outcome: TypeAlias = Out | InfillError

log = structlog.get_logger(__name__)


class BisectingRunner:
    """Runs work in batches as large as memory allows, and bisects a batch that fails.

    Bisection continues until each failing item is in a batch of its own. So after an out-of-memory
    error, smaller batches are tried before any item fails, and the items that share a batch with a
    failing one are run again. The work must therefore have no side effects when it raises.
    """

    def __init__(self, device: Device, limiter: BatchSizeLimiter) -> None:
        self._device = device
        self._limiter = limiter

    def run(
        self, key: Hashable, items: Sequence[In], work: Callable[[Sequence[In]], Sequence[Out]]
    ) -> list[Outcome[Out]]:
        """Run `work` on `items`; return a result or an error for each item, in order.

        All items under one `key` must need the same amount of memory. `work` returns one result for
        each item.
        """
        outcomes: list[Outcome[Out]] = []
        while len(outcomes) < len(items):
            first = len(outcomes)
            outcomes += self._run_batch(key, items[first : first + self._limiter.limit(key)], work)
        return outcomes

    def _run_batch(
        self, key: Hashable, items: Sequence[In], work: Callable[[Sequence[In]], Sequence[Out]]
    ) -> list[Outcome[Out]]:
        failed = self._try(key, items, work)
        if not isinstance(failed, Exception):
            return failed
        number = len(items)
        if is_out_of_memory(failed):
            self._limiter.record_out_of_memory(key, number)
            self._device.empty_cache()
            log.warning("batch_out_of_memory", number=number)
            if number == 1:  # may fit after the cache was emptied
                again = self._try(key, items, work)
                return [to_infill_error(again)] if isinstance(again, Exception) else again
        if number == 1:
            return [to_infill_error(failed)]
        middle = number // 2
        return [
            *self._run_batch(key, items[:middle], work),
            *self._run_batch(key, items[middle:], work),
        ]

    def _try(
        self, key: Hashable, items: Sequence[In], work: Callable[[Sequence[In]], Sequence[Out]]
    ) -> list[Outcome[Out]] | Exception:
        try:
            with self._device.measure_peak() as peak:
                done = list(work(items))
        except Exception as error:  # noqa: BLE001 - a model can fail in any way
            # Without its traceback, whose frames hold the tensors that did not fit.
            return error.with_traceback(None)
        self._limiter.record_success(key, len(items), peak.bytes)
        return list(done)
