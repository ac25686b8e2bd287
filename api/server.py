"""Running a gateway on a port, and ending it without dropping anybody."""

import asyncio
import gc
import socket
from contextlib import suppress
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.services import Services

# Idle connections of a load balancer are kept longer than it keeps them itself (usually 60 s).
KEEP_ALIVE_SECONDS: Final = 75
# What a request may still take after SIGTERM: its body to come in, its pictures to go out.
GRACE_SECONDS: Final = 30
# How long an idle connection may still bring the request that was on its way when we were told.
LINGER_SECONDS: Final = 1.0


class Server(uvicorn.Server):
    """uvicorn, which would close idle connections under a request just sent over them.

    And under load it would stand still for a tenth of a second every few seconds, while the
    collector walks through all that was loaded at the start.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and take what is there now out of the collector's sight: it stays to the end."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has been sent, waiting callers at once, and close every connection."""
        for listening in self.servers:
            listening.close()
        # From here on an answer tells the client to send nothing more over its connection.
        self.server_state.default_headers.append((b"connection", b"close"))
        services: Services = self._app.state.services
        services.listener.wake_all()
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SystemExit: the port cannot be had.
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
    with suppress(KeyboardInterrupt):  # uvicorn's way to end after SIGINT
        Server(config, app).run()
