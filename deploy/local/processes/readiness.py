"""Waiting until a server process is ready."""

import asyncio
from collections.abc import Awaitable, Callable

from common.domain.errors import ConfigurationError, pluralize
from deploy.local.servers.ports import LOOPBACK

POLL_SECONDS = 0.02
RESPONSE_SECONDS = 5.0


async def wait_until_ready(check: Callable[[], Awaitable[bool]], name: str, seconds: float) -> None:
    """Call `check` repeatedly until it returns True; the error message contains `name`.

    It polls, because the servers do not share a readiness signal; the wait is short and bounded.

    Raises:
        ConfigurationError: the check did not succeed within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            while not await check():  # noqa: ASYNC110 - there is no event to wait for, see above
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        limit = pluralize(f"{seconds:g}", "second")
        raise ConfigurationError(f"{name} was not ready within {limit}") from error


async def responds_ok(port: int, path: str = "/readyz") -> bool:
    """Return whether a GET for `path` at `port` of the loopback address is answered with 200."""
    try:
        async with asyncio.timeout(RESPONSE_SECONDS):
            status_line = await _ask(port, path)
    except (OSError, TimeoutError):
        return False
    return status_line.split()[1:2] == [b"200"]


async def _ask(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        return await reader.readline()
    finally:
        writer.close()
