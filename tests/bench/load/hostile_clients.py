"""Hostile clients without a key: slow ones, and ones whose bodies are expensive to parse.

Run as a program: `python -m tests.bench.load.hostile_clients PORT CONNECTIONS SECONDS BODY_BYTES`.
Prints one JSON line: for each kind, how often the server ended a connection or responded, and the
longest time in seconds that one connection stayed open.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import uvloop

from common.runtime.clock import monotonic

ADDRESSES: Final = [f"127.0.0.{last}" for last in range(2, 10)]
DRIP_SECONDS: Final = 0.25
PAUSE_SECONDS: Final = 1.0
PIPELINED: Final = 150

POST: Final = b"POST /api/v3/inpaint HTTP/1.1\r\nHost: gateway\r\n"
DOCUMENT: Final = b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n"
UPGRADE: Final = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
)


@dataclass(slots=True)
class Tally:
    """What happened to the connections of one kind."""

    ended: int = 0
    longest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection of a hostile client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Send a few bytes at a time until the server ends the connection."""
        ended = asyncio.ensure_future(self.reader.read())
        try:
            while not ended.done():
                await self.send(data)
                await asyncio.wait([ended], timeout=DRIP_SECONDS)
        finally:
            ended.cancel()

    async def read_response(self) -> None:
        await self.reader.readuntil(b"\r\n\r\n")


Attack = Callable[[Wire], Awaitable[None]]


async def slow_head(wire: Wire) -> None:
    await wire.send(b"GET / HTTP/1.1\r\nA: ")
    await wire.drip(b"a")


async def silence(wire: Wire) -> None:
    await wire.reader.read()


async def slow_body(wire: Wire) -> None:
    await wire.send(POST + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
    await wire.drip(b" ")


async def slow_chunks(wire: Wire) -> None:
    await wire.send(POST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    await wire.drip(b"1\r\n \r\n")


async def slow_reader(wire: Wire) -> None:
    """Ask for more than the buffers between hold, and read nothing; writing finds the end."""
    await wire.send(DOCUMENT * PIPELINED + b"GET /")
    while True:
        await wire.send(b"x")
        await asyncio.sleep(DRIP_SECONDS)


def post(content_type: str, body: bytes, headers: bytes = b"") -> Attack:
    head = b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (content_type.encode(), len(body))

    async def attack(wire: Wire) -> None:
        await wire.send(POST + headers + head + body)
        await wire.read_response()

    return attack


def attacks(body_bytes: int) -> Mapping[str, Attack]:
    """Return an attack of each kind; bodies have about `body_bytes` bytes."""
    wide = b'{"a":[' + b"{}," * (body_bytes // 3) + b"{}]}"
    deep = b'{"a":' + b"[" * (body_bytes // 10)
    pairs = b"&".join(b"%x=" % n for n in range(body_bytes // 8))
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x-" * (body_bytes // 16)
    return {
        "slow head": slow_head,
        "silence": silence,
        "slow body": slow_body,
        "slow chunks": slow_chunks,
        "slow reader": slow_reader,
        "huge form": post("application/x-www-form-urlencoded", b"a=" + b"%41" * (body_bytes // 3)),
        "form of many fields": post("application/x-www-form-urlencoded", pairs),
        "wide JSON": post("application/json", wide),
        "deep JSON": post("application/json", deep),
        "odd charset": post(
            "multipart/form-data; boundary=b; charset=punycode", part + b"\r\n--b--\r\n"
        ),
        "upgrade": post("application/json", b"{}", UPGRADE),
    }


def list_kinds(connections: int) -> list[str]:
    """Return the kind of each connection: one in fifty reads slowly, all others share equally."""
    others = [kind for kind in attacks(16) if kind != "slow reader"]
    return [
        "slow reader" if number % 50 == 0 else others[number % len(others)]
        for number in range(connections)
    ]


async def repeat(attack: Attack, tally: Tally, port: int, source: str) -> None:
    """Attack again and again, with a new connection each time."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            connected = socket.socket()
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connected.setblocking(False)  # noqa: FBT003 - the standard library's
            connected.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=connected, limit=1024)
            begun = monotonic()
            try:
                await attack(Wire(reader, writer))
            finally:
                writer.transport.abort()
                tally.ended += 1
                tally.longest_seconds = max(tally.longest_seconds, monotonic() - begun)
        await asyncio.sleep(PAUSE_SECONDS)


async def run(port: int, connections: int, seconds: float, body_bytes: int) -> dict[str, Tally]:
    made = attacks(body_bytes)
    tallies = {kind: Tally() for kind in made}
    tasks = [
        asyncio.create_task(repeat(made[kind], tallies[kind], port, ADDRESSES[n % len(ADDRESSES)]))
        for n, kind in enumerate(list_kinds(connections))
    ]
    await asyncio.sleep(seconds)
    kept = {kind: Tally(tally.ended, tally.longest_seconds) for kind, tally in tallies.items()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return kept


def main() -> None:
    port, connections, seconds, body_bytes = sys.argv[1:]
    tallies = uvloop.run(run(int(port), int(connections), float(seconds), int(body_bytes)))
    shown = {kind: [tally.ended, tally.longest_seconds] for kind, tally in tallies.items()}
    print(json.dumps(shown))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
