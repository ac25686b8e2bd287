"""Asking one of our processes whether it is ready."""

import asyncio

from deploy.local.ports import LOOPBACK

ANSWER_SECONDS = 5.0


async def answers_ok(port: int, path: str = "/readyz") -> bool:
    """Tell whether a GET of `path` is answered with 200."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode())
            status_line = await reader.readline()
    except (OSError, TimeoutError):
        return False
    writer.close()
    return status_line.split()[1:2] == [b"200"]
