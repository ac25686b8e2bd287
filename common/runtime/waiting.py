"""Waiting in a loop that something may call on, such as its process being told to stop."""

import asyncio
from contextlib import suppress


async def wait_for_event(called: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, shorter if it is called."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await called.wait()
