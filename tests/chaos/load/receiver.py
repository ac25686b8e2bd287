"""The tenants' webhook receiver, which fails a fifth of its calls in various ways."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.connections import port_of, serving

MISBEHAVED = 0.2
SLOW_SECONDS = 1.5
HANGING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """One webhook that came whole; `taken` when it was answered with a 2xx."""

    webhook_id: str
    job_id: int
    track_id: str
    status: str
    taken: bool


class Receiver:
    """Answers, and keeps what came."""

    def __init__(self, seed: int) -> None:
        self.url = ""  # known once somebody listens
        self.calls: list[Call] = []
        self.unverified = 0
        self.misbehaved = 0
        self.secrets: dict[str, str] = {}  # of the tenants, by the order's token
        # Responses of each call's `webhook-id` before it is answered; True leaves it unanswered.
        self.on_call: Callable[[str], Awaitable[bool]] | None = None
        self._chance = random.Random(seed)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                headers, body = await _read(reader)
                if not await self._answer(headers, body, writer):
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender hung up, or was killed
        finally:
            writer.close()

    async def _answer(
        self, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one call; False when the connection is to be closed."""
        if self.on_call is not None and await self.on_call(headers["webhook-id"]):
            await asyncio.sleep(HANGING_SECONDS)
            return False
        status, extra = b"204 No Content", b""
        if self._chance.random() < MISBEHAVED:
            self.misbehaved += 1
            way = self._chance.choice(("error", "slow", "reset", "busy"))
            if way == "reset":
                self._keep(headers, body, taken=False)
                writer.transport.abort()
                return False
            if way == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            if way == "error":
                status = b"500 Internal Server Error"
            if way == "busy":
                status, extra = b"429 Too Many Requests", b"retry-after: 1\r\n"
        self._keep(headers, body, taken=status.startswith(b"2"))
        length = b"" if status.startswith(b"204") else b"content-length: 0\r\n"
        writer.write(b"HTTP/1.1 " + status + b"\r\n" + extra + length + b"\r\n")
        await writer.drain()
        return True

    def _keep(self, headers: dict[str, str], body: bytes, *, taken: bool) -> None:
        told = json.loads(body)
        token = told["track_id"]
        try:
            Webhook(self.secrets[token]).verify(body, headers)
        except (WebhookVerificationError, KeyError):
            self.unverified += 1
        self.calls.append(
            Call(headers["webhook-id"], told["id"], token, told["status"], taken=taken)
        )


async def _read(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return headers, await reader.readexactly(int(headers["content-length"]))


@asynccontextmanager
async def receiving(seed: int) -> AsyncIterator[Receiver]:
    """Listen on a free port while the block lasts."""
    receiver = Receiver(seed)
    async with serving(receiver.serve) as server:
        receiver.url = f"http://127.0.0.1:{port_of(server)}/hook"
        yield receiver
