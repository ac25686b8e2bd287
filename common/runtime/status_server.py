"""A small HTTP server for /healthz, /readyz and /metrics, in processes that serve no other HTTP.

It runs on the process's event loop and starts no threads.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.domain.errors import ConfigurationError
from common.settings import TelemetrySettings

REQUEST_SECONDS: Final = 5.0
MAX_HEAD: Final = 8192
JSON: Final = "application/json"
METHODS: Final = (b"GET", b"HEAD")

log = structlog.get_logger(__name__)


class StatusServer:
    """HTTP server for health probes and metrics; `ready` raises if the process is not ready."""

    def __init__(
        self, settings: TelemetrySettings, *, ready: Callable[[], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Start listening; do nothing if the configured port is 0.

        Raises:
            ConfigurationError: the port is in use or not permitted.
        """
        host, port = self._settings.status_host, self._settings.status_port
        if not port:
            return
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"INFILL_STATUS_HOST, INFILL_STATUS_PORT: cannot listen on {host}:{port}: {error}"
            ) from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._respond(head))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # closed, too slow, or not HTTP: no response
        finally:
            writer.close()

    async def _respond(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in METHODS:
            return _response(
                HTTPStatus.METHOD_NOT_ALLOWED, JSON, b'{"status":"method not allowed"}'
            )
        response = await self._page(path)
        return response if method == b"GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    async def _page(self, path: bytes) -> bytes:
        match path:
            case b"/healthz":
                return _response(HTTPStatus.OK, JSON, b'{"status":"ok"}')
            case b"/readyz":
                return await self._readiness()
            case b"/metrics":
                return _response(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
            case _:
                return _response(HTTPStatus.NOT_FOUND, JSON, b'{"status":"not found"}')

    async def _readiness(self) -> bytes:
        try:
            await self._ready()
        except Exception as error:  # noqa: BLE001 any error means not ready
            log.warning("not_ready", error=type(error).__name__)
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, JSON, b'{"status":"unavailable"}')
        return _response(HTTPStatus.OK, JSON, b'{"status":"ok"}')


def _response(status: HTTPStatus, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
