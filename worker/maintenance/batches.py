"""Batch loop for maintenance, which changes many rows in several short statements."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

Step = Callable[[], Awaitable[int]]


class BatchResult(NamedTuple):
    """The number of changed rows, and whether all are done, as the last batch was not full."""

    moved: int
    finished: bool


async def run_batches(
    step: Step,
    *,
    size: int,
    max_batches: int | None = None,
    stopping: asyncio.Event | None = None,
) -> BatchResult:
    """Call `step`, which changes up to `size` rows, until it returns a number less than `size`.

    `step` returns the number of rows that it changed. The loop ends early after `max_batches`
    calls, so that a large backlog does not delay other work, and when `stopping` is set.
    """
    moved = 0
    for number in count():
        if number == max_batches or (stopping is not None and stopping.is_set()):
            break
        batch = await step()
        moved += batch
        if batch < size:
            return BatchResult(moved, finished=True)
    return BatchResult(moved, finished=False)
