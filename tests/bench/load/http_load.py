"""A closed-loop HTTP load generator: N connections, each sends its next request on a response.

Run as a program, so that it shares no interpreter with what it measures (`run_load`):
`python -m tests.bench.load.http_load PORT PATH CONNECTIONS REQUESTS STATUS < body`.
Prints one JSON line.
"""

import asyncio
import json
import sys
from time import perf_counter
from typing import Any, cast

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One keep-alive connection; counts responses and records their times."""

    def __init__(
        self, request: bytes, budget: list[int], times: list[float], status: bytes
    ) -> None:
        self._request = request
        self._start = b"HTTP/1.1 " + status
        self._is_error = not status.startswith(b"2")
        self._budget = budget
        self._times = times
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(HEAD_END)
        if not separator or len(body) < _length(head):
            return
        self._times.append(perf_counter() - self._sent_at)
        if not head.startswith(self._start) or (b'"error"' in body[:40]) is not self._is_error:
            self.done.set_exception(RuntimeError(self._buffer.decode()))
            return
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed by the server"))

    def _next(self) -> None:
        if not self._budget[0]:
            self.done.set_result(None)
            self._transport.close()
            return
        self._budget[0] -= 1
        self._sent_at = perf_counter()
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(LENGTH) + len(LENGTH)
    return int(lowered[start:].split(b"\r\n", 1)[0])


async def run_load(
    port: int,
    path: str,
    body: dict[str, Any],
    *,
    connections: int,
    requests: int,
    status: int = 200,
) -> dict[str, float]:
    """Run the load generator in a process of its own and return its figures."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load.http_load"),
        *(str(port), path, str(connections), str(requests), str(status)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(json.dumps(body).encode())
    if process.returncode:
        raise RuntimeError(f"the load generator failed on {path}")
    figures: dict[str, float] = json.loads(output)
    return figures


async def _send(
    port: int, path: str, connections: int, requests: int, body: bytes, *, status: bytes
) -> list[float]:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    times: list[float] = []
    budget = [requests]
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Connection(head.encode() + body, budget, times, status), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    return times


def main() -> None:
    port, path, connections, requests, status = sys.argv[1:]
    body = sys.stdin.buffer.read()
    begun = perf_counter()
    times = uvloop.run(
        _send(int(port), path, int(connections), int(requests), body, status=status.encode())
    )
    seconds = perf_counter() - begun
    times.sort()
    figures = {
        "per_second": len(times) / seconds,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
    }
    print(json.dumps(figures))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
