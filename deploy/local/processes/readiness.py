"""Waiting until a process answers."""

import asyncio
from collections.abc import Awaitable, Callable

from common.domain.errors import ConfigurationError
from common.domain.wording import counted

POLL_SECONDS = 0.02


async def until_ready(check: Callable[[], Awaitable[bool]], name: str, seconds: float) -> None:
    """Ask `check` until it says yes.

    This is the one place that asks again and again: a server in the making sends no signal that
    all three know, and the wait is bounded and short.

    Raises:
        ConfigurationError: no yes came within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            while not await check():  # noqa: ASYNC110 - there is no event to wait for, see above
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        told = counted(f"{seconds:g}", "second")
        raise ConfigurationError(f"{name} did not answer within {told}") from error
