"""Helpers for asyncio: an interruptible pause, and blocking calls in a thread pool."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set, but no longer than `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def run_in_thread(threads: Executor, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a thread pool with the caller's context variables, which log lines include."""
    return asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)
