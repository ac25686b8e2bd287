"""A TLS front of Postgres, as managed services have it; the tests' Postgres has no TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.connections import port_of, serving

# The first message of a client that asks for TLS, and the server's consent.
TLS_REQUEST = bytes.fromhex("0000000804d2162f")
CONSENT = b"S"
CHUNK_BYTES = 65_536
UNENCRYPTED = b"SFATAL\0VFATAL\0C28000\0Mno encryption\0\0"


class TlsFront:
    """Accepts TLS connections only, decrypts them, and forwards them to the port `target`."""

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        self.port = 0
        self.encrypted = 0  # connections accepted so far
        self._target = target
        self._context = context

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve_encrypted(reader, writer)
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve_encrypted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if await reader.readexactly(len(TLS_REQUEST)) != TLS_REQUEST:
            writer.write(b"E" + (len(UNENCRYPTED) + 4).to_bytes(4) + UNENCRYPTED)
            writer.write_eof()
            await reader.read()
            return
        writer.write(CONSENT)
        await writer.start_tls(self._context)
        self.encrypted += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_forward(reader, up_writer), _forward(up_reader, writer))


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def tls_front(target: int, context: ssl.SSLContext) -> AsyncIterator[TlsFront]:
    """Run a front of the loopback port `target` for the duration of the block."""
    front = TlsFront(target, context)
    async with serving(front.serve) as server:
        front.port = port_of(server)
        yield front
