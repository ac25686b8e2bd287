"""Asking one of our processes whether it is ready."""

import asyncio

from deploy.local.servers.ports import LOOPBACK

ANSWER_SECONDS = 5.0


async def answers_ok(port: int, path: str = "/readyz") -> bool:
    """Tell whether a GET of `path` is answered with 200."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
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
