"""Serve the gateway on a port, and shut it down without dropping requests."""

import asyncio
import gc
import socket
from contextlib import suppress
from functools import partial
from typing import Any, Final

import uvicorn

from api.connections.connection import Connection
from api.connections.descriptors import connection_capacity
from api.connections.limits import read_limits
from api.connections.stall_probe import probe_stalls
from api.connections.table import ConnectionTable
from api.documentation.document import DocumentedApp
from api.services import Services
from common.settings import HttpSettings, Settings

# Time for running requests after SIGTERM: to receive their bodies and send their images.
GRACE_SECONDS: Final = 30
# Time in which an idle connection may still deliver a request that was sent before SIGTERM.
LINGER_SECONDS: Final = 1.0


class Server(uvicorn.Server):
    """A uvicorn server with a graceful shutdown and shorter garbage collection pauses.

    On shutdown, plain uvicorn closes idle connections even if a request is just arriving over one
    of them. Under load, the garbage collector would pause the process for a tenth of a second to
    scan the modules loaded at startup.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: DocumentedApp,
        table: ConnectionTable,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        super().__init__(config)
        self._linger_seconds = linger_seconds
        self._app = app
        self._table = table
        self._background: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and exclude all existing objects, which are permanent, from garbage collection."""
        await super().startup(sockets)
        for work in (self._table.sweep_forever(), probe_stalls()):
            self._background.append(asyncio.create_task(work))
        # Cached; building it for the first caller would block all others.
        self._app.rendered_document()
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wake waiting requests, finish running requests, close connections."""
        for server in self.servers:
            server.close()
        # From here on the last response on a connection asks the client to send no more over it.
        self._table.stopping = True
        services: Services = self._app.state.services
        services.completions.wake_all()
        await asyncio.sleep(self._linger_seconds)
        await super().shutdown(sockets)
        for task in self._background:
            task.cancel()


def connection_options(table: ConnectionTable) -> dict[str, Any]:
    """Return the options of `uvicorn.Config` by which it serves with our own connections."""
    return {
        "http": partial(Connection, table=table),
        "ws": "none",
        # The table knows the trusted proxies, and the connection names the forwarded client.
        "proxy_headers": False,
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def create_table(settings: HttpSettings) -> ConnectionTable:
    """Return a table for as many connections as the settings and the open files allow."""
    return ConnectionTable(read_limits(settings, connection_capacity(settings.max_connections)))


def serve(app: DocumentedApp, *, host: str, port: int) -> None:
    """Serve the application until SIGTERM or SIGINT.

    Raises:
        SystemExit: the port is not available.
    """
    settings: Settings = app.state.settings
    table = create_table(settings.http)
    config = uvicorn.Config(app, host=host, port=port, loop="uvloop", **connection_options(table))
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after a shutdown by SIGINT
        Server(config, app, table).run()
