import asyncio

from common.runtime.waiting import rest


async def test_it_ends_when_time_is_up() -> None:
    stopping = asyncio.Event()
    await rest(stopping, 0)
    assert not stopping.is_set()


async def test_it_ends_when_the_process_is_stopping() -> None:
    stopping = asyncio.Event()
    resting = asyncio.create_task(rest(stopping, 3600))
    stopping.set()
    async with asyncio.timeout(20):
        await resting
