import asyncio
from contextvars import ContextVar

from common.runtime.write_buffer import WriteBuffer

DEADLINE_SECONDS = 20
caller: ContextVar[str] = ContextVar("caller", default="none")


class SlowWriter:
    """Records the batches it is given; each write lasts until `release` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.callers: list[str] = []
        self.started = asyncio.Event()
        self.release = asyncio.Event()

    async def write(self, batch: list[int]) -> None:
        self.batches.append(batch)
        self.callers.append(caller.get())
        self.started.set()
        await self.release.wait()


async def test_items_that_arrive_during_a_write_share_the_next_ones() -> None:
    writer = SlowWriter()
    buffer = WriteBuffer(writer.write, max_batch=2)
    buffer.add(1)
    await asyncio.wait_for(writer.started.wait(), DEADLINE_SECONDS)
    for item in (2, 3, 4):
        buffer.add(item)
    assert writer.batches == [[1]]
    writer.release.set()
    await asyncio.wait_for(buffer.flush(), DEADLINE_SECONDS)
    assert writer.batches == [[1], [2, 3], [4]]
    buffer.add(5)
    await asyncio.wait_for(buffer.flush(), DEADLINE_SECONDS)
    assert writer.batches[3:] == [[5]]


async def test_without_a_limit_everything_that_waits_is_one_batch() -> None:
    writer = SlowWriter()
    writer.release.set()
    buffer = WriteBuffer(writer.write)
    for item in range(1000):
        buffer.add(item)
    await asyncio.wait_for(buffer.flush(), DEADLINE_SECONDS)
    assert writer.batches == [list(range(1000))]


async def test_a_write_does_not_inherit_the_context_of_the_first_caller() -> None:
    writer = SlowWriter()
    writer.release.set()
    buffer = WriteBuffer(writer.write)
    caller.set("a request")
    buffer.add(1)
    await asyncio.wait_for(buffer.flush(), DEADLINE_SECONDS)
    assert writer.callers == ["none"]


async def test_closing_cancels_the_write_under_way_and_drops_the_rest() -> None:
    writer = SlowWriter()
    buffer = WriteBuffer(writer.write)
    await buffer.aclose()  # nothing to cancel yet
    buffer.add(1)
    await asyncio.wait_for(writer.started.wait(), DEADLINE_SECONDS)
    buffer.add(2)
    await asyncio.wait_for(buffer.aclose(), DEADLINE_SECONDS)
    assert writer.batches == [[1]]
