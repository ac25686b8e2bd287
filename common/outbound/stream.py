"""A network stream that limits the number of bytes read."""

import asyncio
from contextlib import suppress

from httpcore2 import AsyncNetworkStream

from common.outbound.errors import ExchangeError, Reason


class CappedStream(AsyncNetworkStream):
    """A connection to a peer; `allowance` is the number of bytes that may still be read.

    All bytes on the wire count, so that the limit also covers what limits on headers and body would
    miss: floods of interim responses, long chunk extensions, endless trailers.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, allowance: int
    ) -> None:
        self.allowance = allowance
        self._reader = reader
        self._writer = writer
        self._unsent = bytearray()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 the base class's signature
        """Send buffered data, then read up to `max_bytes`; return b"" at the end of the stream.

        Raises:
            ExchangeError: the allowance is used up.
            OSError: the connection broke.
        """
        del timeout  # one deadline covers the whole exchange
        if self._unsent:
            await self._send()
        if self.allowance <= 0:
            raise ExchangeError(Reason.PROTOCOL, "more bytes on the wire than allowed")
        data = await self._reader.read(min(max_bytes, self.allowance))
        self.allowance -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 the base class's signature
        """Buffer data until the next read, so that head and body are sent in one packet."""
        del timeout
        self._unsent += buffer

    async def aclose(self) -> None:
        """Abort the connection and discard unsent data.

        A graceful close could hang if the peer never reads or never ends its TLS session.
        """
        self._writer.transport.abort()

    async def _send(self) -> None:
        unsent, self._unsent = self._unsent, bytearray()
        # A peer may respond and hang up before it has read everything; its response still counts.
        with suppress(OSError):
            self._writer.write(unsent)
            await self._writer.drain()
