"""Batch loop for maintenance: many rows are changed by several short statements."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

Step = Callable[[], Awaitable[int]]


class BatchResult(NamedTuple):
    """The number of rows changed, and whether none is left (the last batch was not full)."""

    moved: int
    finished: bool


async def run_batches(
    step: Step,
    *,
    size: int,
    max_batches: int | None = None,
    stopping: asyncio.Event | None = None,
) -> BatchResult:
    """Repeat `step`, which returns how many rows it changed, until it changes fewer than `size`.

    Stops earlier after `max_batches`, so that a backlog of one kind does not delay other work, and
    once `stopping` is set.
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
