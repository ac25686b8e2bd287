"""A healthy client that sends requests at a steady rate, whether or not responses come.

Run as a program: `python -m tests.bench.load.steady_client PORT PER_SECOND SECONDS < requests`.
The input is a JSON list of `[path, body]`, sent in turn. Prints one JSON line: the requests sent,
and the latencies in seconds of those that succeeded.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Final

import uvloop

from common.runtime.clock import monotonic

TIMEOUT_SECONDS: Final = 20.0
LENGTH: Final = b"content-length: "

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class SteadyClient:
    """Sends requests over kept connections; opens another one if all are in use."""

    def __init__(self, port: int) -> None:
        self.latencies: list[float] = []
        self._port = port
        self._idle: list[Wire] = []

    async def send(self, request: bytes) -> None:
        """Send one request, and record its latency if it succeeds."""
        begun = monotonic()
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if await self._exchange(request):
                    self.latencies.append(monotonic() - begun)

    async def _exchange(self, request: bytes) -> bool:
        if not self._idle:
            self._idle.append(await asyncio.open_connection("127.0.0.1", self._port))
        reader, writer = wire = self._idle.pop()
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.partition(LENGTH)[2].split(b"\r\n")[0]))
        except BaseException:
            writer.close()
            raise
        self._idle.append(wire)
        return head.startswith(b"http/1.1 200") and b'"status":"error"' not in body


def encode(port: int, path: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def run(port: int, per_second: float, seconds: float, requests: list[bytes]) -> list[float]:
    client = SteadyClient(port)
    count = max(1, round(per_second * seconds))
    begun = monotonic()
    async with asyncio.TaskGroup() as sending:
        for number in range(count):
            await asyncio.sleep(begun + number / per_second - monotonic())
            sending.create_task(client.send(requests[number % len(requests)]))
    return client.latencies


def main() -> None:
    port, per_second, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    requests = [encode(port, path, body) for path, body in json.load(sys.stdin)]
    latencies = uvloop.run(run(port, per_second, seconds, requests))
    sent = max(1, round(per_second * seconds))
    print(json.dumps({"sent": sent, "latencies": latencies}))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
