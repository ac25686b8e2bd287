import asyncio

from common.runtime.asyncio_tools import wait_for_event


async def test_the_wait_ends_when_its_time_is_up() -> None:
    stopping = asyncio.Event()
    await wait_for_event(stopping, 0)
    assert not stopping.is_set()


async def test_the_wait_ends_when_the_process_is_stopping() -> None:
    stopping = asyncio.Event()
    resting = asyncio.create_task(wait_for_event(stopping, 3600))
    stopping.set()
    async with asyncio.timeout(20):
        await resting
