"""Webhook receivers on loopback: one responds at once, one never does, one drips its response.

Run as a program, so that they share no interpreter with what is measured (`open_receivers`):
`python -m tests.bench.load.webhook_receivers`. Prints their ports as a JSON line; for each line it
then reads, it prints how many webhooks the first has had; and for a path, writes there when each of
them came.
"""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvloop

from common.runtime.clock import monotonic

ANYWHERE = "0.0.0.0"  # all of 127.0.0.0/8: each address is an origin of its own
BACKLOG = 4096
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
HEAD_END = b"\r\n\r\n"
ID = b"webhook-id: "
LENGTH = b"content-length: "
DRIP_SECONDS = 0.5

Arrivals = dict[str, float]


@dataclass(slots=True)
class Receivers:
    """The process with the receivers; `prompt`, `silent` and `dripping` are their ports."""

    process: asyncio.subprocess.Process
    prompt: int
    silent: int
    dripping: int

    async def count(self) -> int:
        """Return how many webhooks the prompt receiver has had."""
        return int(await self._ask(""))

    async def arrivals(self, home: Path) -> dict[str, float]:
        """Return when each webhook arrived, by the monotonic clock that all processes share."""
        path = home / "arrivals.json"
        await self._ask(str(path))
        arrivals: dict[str, float] = json.loads(path.read_text())
        return arrivals

    async def until(self, number: int, seconds: float) -> None:
        """Wait until the prompt receiver has had `number` webhooks."""
        async with asyncio.timeout(seconds):
            while await self.count() < number:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.05)

    async def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n".encode())
        return json.loads(await self.process.stdout.readline())


@asynccontextmanager
async def open_receivers() -> AsyncIterator[Receivers]:
    """Run the receivers in a process of their own while the block lasts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load.webhook_receivers"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Receivers(process, *json.loads(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()


class Prompt(asyncio.Protocol):
    """Records when a webhook has arrived whole, and responds."""

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
            self._transport.write(RESPONSE)
            self._transport.close()


class Silent(asyncio.Protocol):
    """Reads everything and sends nothing: for TLS, a handshake that stalls."""


class Dripping(asyncio.Protocol):
    """Responds one byte at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._drip(iter(RESPONSE))

    def _drip(self, response: Iterator[int]) -> None:
        byte = next(response, None)
        if byte is not None and not self._transport.is_closing():
            self._transport.write(bytes([byte]))
            asyncio.get_running_loop().call_later(DRIP_SECONDS, self._drip, response)


def _value(head: bytes, name: bytes) -> str:
    return head.lower().partition(name)[2].partition(b"\r\n")[0].decode()


async def serve() -> None:
    arrivals: Arrivals = {}
    loop = asyncio.get_running_loop()
    kinds = (partial(Prompt, arrivals), Silent, Dripping)
    servers = [await loop.create_server(kind, ANYWHERE, 0, backlog=BACKLOG) for kind in kinds]
    _print([server.sockets[0].getsockname()[1] for server in servers])
    while line := await asyncio.to_thread(sys.stdin.readline):
        if path := line.strip():
            Path(path).write_text(json.dumps(arrivals))
        _print(len(arrivals))


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)  # noqa: T201 - read by the process that started this one


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(serve())
