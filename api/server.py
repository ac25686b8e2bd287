"""Serve the gateway on a port, and shut it down without dropping requests."""

import asyncio
import gc
import socket
from contextlib import suppress
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.services import Services

# Longer than load balancers keep idle connections (usually 60 s), so that they close first.
KEEP_ALIVE_SECONDS: Final = 75
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

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and exclude all existing objects, which are permanent, from garbage collection."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wake waiting requests, finish running requests, close connections."""
        for server in self.servers:
            server.close()
        # Every response from here on asks the client to send no more over its connection.
        self.server_state.default_headers.append((b"connection", b"close"))
        services: Services = self._app.state.services
        services.completions.wake_all()
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Serve the application until SIGTERM or SIGINT.

    Raises:
        SystemExit: the port is not available.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after a shutdown by SIGINT
        Server(config, app).run()
