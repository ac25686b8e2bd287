"""Waiting in a loop that must end when its process is told to stop."""

import asyncio
from contextlib import suppress


async def rest(stopping: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, shorter if the process is stopping."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
