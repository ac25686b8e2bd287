"""Running blocking calls in a thread pool."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def run_in_thread(threads: Executor, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a thread pool, with the caller's context variables for its log lines."""
    return asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)
