"""A connection that gives no more bytes than the exchange allows."""

import asyncio

from httpcore2 import AsyncNetworkStream, WriteError

from common.outbound.trouble import ExchangeError, Reason


class CappedStream(AsyncNetworkStream):
    """Bytes to and from a peer; `allowance` is how many more may be read.

    Counting on the wire bounds what no limit on headers or body alone does: floods of interim
    answers, chunks wrapped in kilobytes of extensions, endless trailers.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, allowance: int
    ) -> None:
        self.allowance = allowance
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 the base class's signature
        """Read at most `max_bytes`, empty at the end.

        Raises:
            ExchangeError: the allowance is used up.
        """
        del timeout  # one deadline covers the whole exchange
        if self.allowance <= 0:
            raise ExchangeError(Reason.PROTOCOL, "more bytes on the wire than allowed")
        data = await self._reader.read(min(max_bytes, self.allowance))
        self.allowance -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 the base class's signature
        """Send `buffer`.

        Raises:
            WriteError: the peer has gone; its answer may have come before that.
        """
        del timeout
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except OSError as error:
            raise WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Drop the connection at once, whatever is still to be sent.

        An orderly close would wait for a peer that never reads, or never ends its TLS session.
        """
        self._writer.transport.abort()
