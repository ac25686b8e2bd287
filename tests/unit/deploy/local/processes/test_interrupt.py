import asyncio
import os
import signal

import pytest

from deploy.local.processes.interrupt import run_until_interrupted


async def value() -> int:
    return 7


async def test_work_without_an_interrupt_returns_its_result() -> None:
    assert await run_until_interrupted(value()) == 7


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_an_interrupt_lets_the_work_clean_up(how: signal.Signals) -> None:
    cleaned = asyncio.Event()

    async def work() -> int:
        try:
            os.kill(os.getpid(), how)
            await asyncio.Event().wait()
            return 7
        finally:
            # An impatient second one changes nothing.
            await asyncio.to_thread(os.kill, os.getpid(), how)
            cleaned.set()

    assert await run_until_interrupted(work()) is None
    assert cleaned.is_set()


async def test_a_cancellation_that_is_no_interrupt_is_raised() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_until_interrupted(work())
