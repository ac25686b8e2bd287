"""Blocking work in threads of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def run_in_thread(threads: Executor, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in one of `threads`, its log lines bound to the same job."""
    return asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)
