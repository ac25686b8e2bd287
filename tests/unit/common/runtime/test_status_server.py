import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from common.domain.errors import ConfigurationError
from common.runtime.metrics import DELIVERY_SECONDS
from common.runtime.status_server import MAX_HEAD, StatusServer
from common.settings import TelemetrySettings
from deploy.local.servers.ports import free_port


async def always() -> None:
    pass


async def never() -> None:
    raise ConnectionError("Postgres is unavailable")


@asynccontextmanager
async def serving(ready: Callable[[], Awaitable[None]] = always) -> AsyncIterator[int]:
    port = free_port()
    server = StatusServer(TelemetrySettings(status_port=port), ready=ready)
    await server.start()
    try:
        yield port
    finally:
        await server.stop()


async def ask(port: int, request: str) -> str:
    """Send a request and return the whole response, empty if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    writer.write_eof()
    async with asyncio.timeout(20):
        response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response.decode()


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        ("GET /healthz HTTP/1.1", "200 OK", '{"status":"ok"}'),
        ("GET /healthz?verbose HTTP/1.1", "200 OK", '{"status":"ok"}'),
        ("GET /readyz HTTP/1.1", "200 OK", '{"status":"ok"}'),
        ("HEAD /readyz HTTP/1.1", "200 OK", ""),
        ("GET / HTTP/1.1", "404 Not Found", '{"status":"not found"}'),
        ("POST /healthz HTTP/1.1", "405 Method Not Allowed", '{"status":"method not allowed"}'),
        ("nonsense", "405 Method Not Allowed", '{"status":"method not allowed"}'),
    ],
)
async def test_pages_have_their_status_and_body(request_line: str, status: str, body: str) -> None:
    async with serving() as port:
        head, _, text = (await ask(port, f"{request_line}\r\nHost: x\r\n\r\n")).partition(
            "\r\n\r\n"
        )
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert text == body


async def test_metrics_are_in_the_prometheus_format() -> None:
    async with serving() as port:
        response = await ask(port, "GET /metrics HTTP/1.1\r\n\r\n")
    assert "Content-Type: text/plain; version=" in response
    assert f"# TYPE {next(iter(DELIVERY_SECONDS.describe())).name} histogram" in response


async def test_health_does_not_depend_on_readiness() -> None:
    async with serving(never) as port:
        ready = await ask(port, "GET /readyz HTTP/1.1\r\n\r\n")
        healthy = await ask(port, "GET /healthz HTTP/1.1\r\n\r\n")
    assert ready.startswith("HTTP/1.1 503 Service Unavailable\r\n")
    assert "Postgres" not in ready
    assert healthy.startswith("HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("request_text", ["", "GET /healthz", "x" * (2 * MAX_HEAD)])
async def test_a_malformed_request_gets_no_response_and_harms_nothing(request_text: str) -> None:
    async with serving() as port:
        assert await ask(port, request_text) == ""
        assert "200 OK" in await ask(port, "GET /healthz HTTP/1.1\r\n\r\n")


async def test_port_0_switches_the_server_off() -> None:
    server = StatusServer(TelemetrySettings(status_port=0), ready=always)
    await server.start()
    await server.stop()


@pytest.mark.parametrize("port", [None, 70_000])
async def test_a_port_that_cannot_be_opened_is_named(port: int | None) -> None:
    async with serving() as taken:
        wanted = port or taken
        server = StatusServer(TelemetrySettings(status_port=wanted), ready=always)
        with pytest.raises(
            ConfigurationError, match=rf"INFILL_STATUS_PORT: .*127\.0\.0\.1:{wanted}"
        ):
            await server.start()
