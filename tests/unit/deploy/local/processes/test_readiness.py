"""A process is ready only if it responds with 200."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.local.processes import readiness
from deploy.local.processes.readiness import responds_ok
from deploy.local.servers.ports import LOOPBACK, free_port


@asynccontextmanager
async def serving(respond: Callable[[bytes], bytes | None]) -> AsyncIterator[int]:
    """Respond to each request with `respond(head)`; to None with silence."""
    ends = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        response = respond(await reader.readuntil(b"\r\n\r\n"))
        if response is None:
            await ends.wait()
        else:
            writer.write(response)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, LOOPBACK, port)
    try:
        yield port
    finally:
        ends.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("response", "ready"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"SSH-2.0\r\n", False),
        (b"", False),
    ],
)
async def test_only_200_is_ready(response: bytes, ready: bool) -> None:  # noqa: FBT001 - a table
    async with serving(lambda _head: response) as port:
        assert await responds_ok(port) is ready


async def test_the_given_path_is_requested() -> None:
    heads: list[bytes] = []

    def respond(head: bytes) -> bytes:
        heads.append(head.split(b"\r\n")[0])
        return b"HTTP/1.1 200 OK\r\n\r\n"

    async with serving(respond) as port:
        assert await responds_ok(port)
        assert await responds_ok(port, "/healthz")
    assert heads == [b"GET /readyz HTTP/1.1", b"GET /healthz HTTP/1.1"]


async def test_a_closed_port_is_not_ready() -> None:
    assert not await responds_ok(free_port())


async def test_no_response_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "RESPONSE_SECONDS", 0.05)
    async with serving(lambda _head: None) as port:
        assert not await responds_ok(port)
