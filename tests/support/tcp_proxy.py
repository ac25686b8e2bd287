"""A TCP proxy on loopback that can stall, as networks do.

While stalled, it still accepts connections, but it neither forwards data nor closes connections.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from tests.support.connections import ON_A_FREE_PORT, port_of, serving

CHUNK_BYTES = 65_536


class Proxy:
    """Proxy that forwards connections from its `port` to the port `target`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.connections = 0  # accepted so far
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Hold back all data."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward data again, beginning with the data that was held back."""
        self._flowing.set()

    def cut(self) -> None:
        """Abort all open connections; new connections are still accepted."""
        for writer in self._writers:
            writer.transport.abort()

    def redirect(self, target: int) -> None:
        """Forward new connections to the port `target`; open connections stay where they are."""
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError):
                await self._flowing.wait()
                server_reader, server_writer = await asyncio.open_connection(
                    "127.0.0.1", self._target
                )
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass(reader, server_writer))
                    both.create_task(self._pass(server_reader, writer))
        finally:
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._writers.add(sink)
        try:
            with suppress(OSError):
                while data := await source.read(CHUNK_BYTES):
                    await self._flowing.wait()
                    sink.write(data)
                    await sink.drain()
        finally:
            self._writers.discard(sink)
            sink.close()


@asynccontextmanager
async def proxy(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy to the loopback port `target` while the block runs, with TLS if given."""
    opened = Proxy(target)
    async with serving(opened.serve, partial(ON_A_FREE_PORT, ssl=tls)) as server:
        opened.port = port_of(server)
        yield opened
