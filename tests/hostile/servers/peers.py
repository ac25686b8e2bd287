"""Hostile and honest peers on loopback, and a name service scripted by tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import TypeAlias

from common.outbound.address import Address

Script: TypeAlias = Callable[["Peer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """One listener; records connections and what they sent."""

    def __init__(self, script: Script) -> None:
        self.host = ""
        self.port = 0
        self.connections = 0
        self.received = b""
        self.server_name: str | None = None
        self.left = asyncio.Event()  # a client has gone, or has been served
        self._script = script
        self._calls: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/", *, host: str | None = None, scheme: str = "http") -> str:
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request, head and body, and remember it."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.received += head + body
        return head

    async def answer_call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._calls.add(task)
        try:
            # Cancelled only by `hang_up`; Python 3.11's server would log that as an error.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._script(self, reader, writer)
        finally:
            self.left.set()
            writer.close()

    async def hang_up(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


@asynccontextmanager
async def listening(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """Run a peer for as long as the block lasts."""
    peer = Peer(script)
    if tls:

        def note(_socket: object, name: str | None, _context: ssl.SSLContext) -> None:
            peer.server_name = name

        tls.sni_callback = note
    server = await asyncio.start_server(peer.answer_call, host, port, ssl=tls)
    peer.host, peer.port = server.sockets[0].getsockname()[:2]
    try:
        yield peer
    finally:
        server.close()
        await peer.hang_up()


def says(*answers: bytes) -> Script:
    """Answer each request with the next of `answers`, the last one forever, and hang up."""
    rest = list(answers)

    async def script(
        peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await peer.request(reader)
        writer.write(rest.pop(0) if len(rest) > 1 else rest[0])
        await writer.drain()

    return script


def says_and_stays(answer: bytes) -> Script:
    """Answer and keep the connection open until the client goes."""

    async def script(
        peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await peer.request(reader)
        writer.write(answer)
        await reader.read()

    return script


def repeats(begin: bytes, again: bytes, *, pause_seconds: float = 0.0) -> Script:
    """Send `begin`, then `again` repeatedly until the client disconnects."""

    async def script(
        peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await peer.request(reader)
        writer.write(begin)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause_seconds)  # the drip itself, not a wait for something

    return script


def blurts(answer: bytes) -> Script:
    """Send `answer` without a request, and stay connected until the client disconnects."""

    async def script(
        _peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(answer)
        while await reader.read(65536):
            pass

    return script


async def hangs_up(
    _peer: Peer, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Drop the connection without a word."""
    writer.transport.abort()


async def silence(_peer: Peer, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything, say nothing, until the client goes."""
    while await reader.read(65536):
        pass


async def deafness(
    _peer: Peer, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
) -> None:
    """Neither read nor write until the test ends."""
    await asyncio.Event().wait()


class Names:
    """A name service: each look-up of a name gives its next answer, the last one forever."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, list[list[Address]]] = {}

    def add(self, host: str, *answers: Sequence[str]) -> None:
        self._answers[host] = [[ip_address(text) for text in answer] for answer in answers]

    async def __call__(self, host: str, port: int) -> list[Address]:
        del port
        self.asked.append(host)
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]
