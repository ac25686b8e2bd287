"""A server with our own connections and a tiny ASGI application, in a thread with uvloop."""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
import uvloop

from api.connections.limits import ConnectionLimits
from api.connections.table import ConnectionTable
from api.documentation.document import DocumentedApp
from api.server import Server, connection_options

PATIENCE_SECONDS = 60
LARGE_BYTES = 50_000_000

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """Responds to /echo with what was read, to /early before reading, to /hold when released."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(
            services=SimpleNamespace(completions=SimpleNamespace(wake_all=self.release))
        )
        self.held = 0
        self.disconnected = 0
        self._released = asyncio.Event()

    def rendered_document(self) -> bytes:
        return b"{}"

    def release(self) -> None:
        self._released.set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        path = scope["path"]
        if path == "/early":
            await respond(send, 401, {"early": True})
            return
        if path == "/large":
            await respond(send, 200, {"large": "x" * LARGE_BYTES})
            return
        if path == "/hold":
            self.held += 1
            await self._released.wait()
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected += 1
                return
            body += message["body"]
            if not message["more_body"]:
                break
        names = sorted(name.decode() for name, _ in scope["headers"])
        await respond(
            send,
            200,
            {
                "client": scope["client"][0],
                "method": scope["method"],
                "path": path,
                "query": scope["query_string"].decode(),
                "length": len(body),
                "body": body[:100].decode("latin-1"),
                "sha256": sha256(body).hexdigest(),
                "headers": names,
            },
        )


async def respond(send: Send, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@dataclass
class Site:
    """A running server."""

    port: int
    app: App
    table: ConnectionTable
    server: Server
    loop: asyncio.AbstractEventLoop
    clients: list["Client"] = field(default_factory=list)

    def connect(self, source: str = "127.0.0.1") -> "Client":
        """Connect from an address of this machine."""
        connected = socket.create_connection(
            ("127.0.0.1", self.port), PATIENCE_SECONDS, source_address=(source, 0)
        )
        client = Client(connected)
        self.clients.append(client)
        return client

    def exchange(self, *pieces: bytes) -> list["Response"]:
        """Send pieces, each in its own packet, and return the responses until the server closes."""
        client = self.connect()
        for piece in pieces:
            client.send(piece)
        return client.read_all()

    def open_connections(self) -> int:
        return len(self.table)

    def release(self) -> None:
        self.loop.call_soon_threadsafe(self.app.release)


@dataclass(frozen=True)
class Response:
    """One response; `body` is its JSON."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Client:
    """One connection of a client that writes raw bytes."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self._file = connected.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> Response | None:
        """Return the next response; None if the server has closed the connection in order."""
        line = self._file.readline()
        if not line:
            return None
        status = int(line.split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        content = self._file.read(int(headers.get("content-length", "0")))
        return Response(status, headers, json.loads(content) if content else {})

    def read_all(self) -> list[Response]:
        """Return all responses until the server closes the connection."""
        return list(iter(self.read, None))

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@contextmanager
def serving(*, linger_seconds: float = 0.0, **limits: Any) -> Iterator[Site]:
    """Serve the application with some limits changed; deadlines are checked often."""
    table = ConnectionTable(ConnectionLimits(**{"sweep_seconds": 0.02, **limits}))
    started: list[Site] = []
    ready = threading.Event()

    async def run(listening: socket.socket) -> None:
        app = App()
        config = uvicorn.Config(cast("Any", app), loop="none", **connection_options(table))
        server = Server(config, cast("DocumentedApp", app), table, linger_seconds)
        port = listening.getsockname()[1]
        started.append(Site(port, app, table, server, asyncio.get_running_loop()))
        ready.set()
        await server.serve([listening])

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        thread = threading.Thread(target=uvloop.run, args=(run(listening),))
        thread.start()
        assert ready.wait(PATIENCE_SECONDS)
        (site,) = started
        try:
            yield site
        finally:
            for client in site.clients:
                client.close()
            site.release()
            site.server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
