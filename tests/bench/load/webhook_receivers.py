"""Receivers of webhooks on loopback: one that answers at once, one that never does, one that drips.

Run as a program, so that they share no interpreter with what is measured:
`python -m tests.bench.load.webhook_receivers`. Prints their ports as a JSON line; for each line it
then reads, it prints how many webhooks the first has had; and for a path, writes there when each of
them came.
"""

import asyncio
import json
import resource
import sys
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from common.runtime.clock import monotonic

ANYWHERE = "0.0.0.0"  # all of 127.0.0.0/8: each address is an origin of its own
BACKLOG = 4096
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
HEAD_END = b"\r\n\r\n"
ID = b"webhook-id: "
LENGTH = b"content-length: "
DRIP_SECONDS = 0.5

Arrivals = dict[str, float]


class Prompt(asyncio.Protocol):
    """Notes when a webhook has come whole, and answers."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(HEAD_END)
        if separator and len(body) >= int(_value(head, LENGTH)):
            self._arrivals.setdefault(_value(head, ID), monotonic())
            self._transport.write(ANSWER)
            self._transport.close()


class Silent(asyncio.Protocol):
    """Takes everything and says nothing: a stalled handshake too, where TLS is tried."""


class Dripping(asyncio.Protocol):
    """Answers a byte at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._drip(iter(ANSWER))

    def _drip(self, answer: "partial[bytes] | object") -> None:
        byte = next(answer, None)  # type: ignore[call-overload]
        if byte is not None and not self._transport.is_closing():
            self._transport.write(bytes([byte]))
            asyncio.get_running_loop().call_later(DRIP_SECONDS, self._drip, answer)


def _value(head: bytes, name: bytes) -> str:
    return head.lower().partition(name)[2].partition(b"\r\n")[0].decode()


async def serve() -> None:
    arrivals: Arrivals = {}
    loop = asyncio.get_running_loop()
    kinds = (partial(Prompt, arrivals), Silent, Dripping)
    servers = [await loop.create_server(kind, ANYWHERE, 0, backlog=BACKLOG) for kind in kinds]
    _say([server.sockets[0].getsockname()[1] for server in servers])
    while line := await asyncio.to_thread(sys.stdin.readline):
        if path := line.strip():
            Path(path).write_text(json.dumps(arrivals))
        _say(len(arrivals))


def _say(told: object) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - whoever started us reads it


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(serve())
