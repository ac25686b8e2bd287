"""Orderly shutdown on Ctrl-C and termination signals."""

import asyncio
from collections.abc import Coroutine
from signal import Signals
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)

INTERRUPTS = (Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)


async def run_until_interrupted(work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`; on SIGINT, SIGTERM or SIGHUP cancel it and return None.

    `work` may clean up after the cancellation; further signals are ignored meanwhile, because the
    clean-up has its own deadlines.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    interrupted = asyncio.Event()

    def interrupt(signal: Signals) -> None:
        if not interrupted.is_set():
            log.info("interrupted", signal=signal.name)
            interrupted.set()
            task.cancel()

    for signal in INTERRUPTS:
        loop.add_signal_handler(signal, interrupt, signal)
    try:
        return await task
    except asyncio.CancelledError:
        if not interrupted.is_set():
            raise
        return None
    finally:
        for signal in INTERRUPTS:
            loop.remove_signal_handler(signal)
