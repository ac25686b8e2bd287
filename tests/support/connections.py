"""Test servers that run one task per connection and cancel these tasks when they stop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Start = Callable[[Accept], Awaitable[asyncio.Server]]

ON_A_FREE_PORT: Final = partial(asyncio.start_server, host="127.0.0.1", port=0)


@asynccontextmanager
async def serving(serve: Serve, start: Start = ON_A_FREE_PORT) -> AsyncIterator[asyncio.Server]:
    """Serve connections for the duration of the block, then cancel the remaining ones."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_run(serve, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await start(accept)
    try:
        yield server
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(serve: Serve, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await serve(reader, writer)


def port_of(server: asyncio.Server) -> int:
    """Return the port on which `server` listens."""
    port: int = server.sockets[0].getsockname()[1]
    return port
