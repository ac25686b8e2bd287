"""A webhook receiver on loopback with scripted replies, which records what it received.

It verifies the signature of each delivery with the package that receivers use. The test fails if a
signature is invalid.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.connections import port_of, serving

DEADLINE_SECONDS = 20.0

# The webhook secrets of all tenants made by tests of this process, oldest first.
SECRETS: list[str] = []


@dataclass(frozen=True, slots=True)
class Received:
    """One received request; header names are lower-case."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def verifies(self, secret: str) -> bool:
        try:
            Webhook(secret).verify(self.body, self.headers)
        except WebhookVerificationError:
            return False
        return True


@dataclass(slots=True)
class Reply:
    """One reply, sent after the event `hold` is set; `drip` sends single bytes without end."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hold: asyncio.Event | None = None
    drip: bool = False

    def head(self) -> bytes:
        length = 1_000_000 if self.drip else len(self.body)
        lines = {"content-length": str(length), "connection": "close", **self.headers}
        written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {self.status} Scripted\r\n{written}\r\n".encode()


class Receiver:
    """Server that sends `replies` in order, and responds with 200 when none are left."""

    def __init__(self) -> None:
        self.url = ""  # set once the server listens
        self.replies: deque[Reply] = deque()
        self.requests: list[Received] = []
        self.unverified: list[Received] = []
        self.dropped = 0  # connections that the sender closed before the end of the reply
        self._changed = asyncio.Condition()

    async def request(self, number: int = 1) -> Received:
        """Wait until `number` requests have been received, and return the last of these."""
        await self.wait_until(lambda: len(self.requests) >= number)
        return self.requests[number - 1]

    async def wait_until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received = await _read(reader)
            reply = self.replies.popleft() if self.replies else Reply()
            await self._record(received)
            await _send_reply(reply, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            self.dropped += 1
            async with self._changed:
                self._changed.notify_all()
        finally:
            writer.close()

    async def _record(self, received: Received) -> None:
        async with self._changed:
            self.requests.append(received)
            if not any(received.verifies(secret) for secret in reversed(SECRETS)):
                self.unverified.append(received)
            self._changed.notify_all()


async def _read(reader: asyncio.StreamReader) -> Received:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(first.split(" ")[1], headers, body)


async def _send_reply(
    reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if reply.hold is not None:
        await reply.hold.wait()
    writer.write(reply.head())
    while reply.drip:
        writer.write(b".")
        await writer.drain()
        # The pause between two drips ends early when the sender hangs up.
        if await _has_disconnected(reader, 0.02):
            raise ConnectionResetError
    writer.write(reply.body)
    await writer.drain()


async def _has_disconnected(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await reader.read(1) == b""
    except TimeoutError:
        return False


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver on a free port for the duration of the block, then check all signatures."""
    receiver = Receiver()
    async with serving(receiver.serve) as server:
        receiver.url = f"http://127.0.0.1:{port_of(server)}/hook"
        yield receiver
    assert receiver.unverified == []
