"""The world around the demo: somebody's pictures to fetch, and somebody's webhook to call."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from common.clock import utc_now
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.readiness import until_ready

SAMPLES = files("deploy.local") / "samples"
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One webhook as it arrived; `headers` have lower-case names."""

    arrived_at: datetime
    headers: dict[str, str]
    body: bytes


class Neighbour:
    """Serves the sample pictures and keeps the first webhook that comes in."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://{LOOPBACK}:{port}"
        self.called: asyncio.Future[Call] = asyncio.get_running_loop().create_future()

    async def picture(self, request: Request) -> Response:
        """Answer with one of the sample pictures."""
        return FileResponse(str(SAMPLES / request.path_params["name"]))

    async def webhook(self, request: Request) -> Response:
        """Take a webhook and say thanks."""
        call = Call(utc_now(), dict(request.headers), await request.body())
        self.called.get_loop().call_soon_threadsafe(self._keep, call)
        return Response(status_code=204)

    def _keep(self, call: Call) -> None:
        if not self.called.done():
            self.called.set_result(call)


@asynccontextmanager
async def neighbour() -> AsyncIterator[Neighbour]:
    """Serve on a free port of loopback while the block runs.

    In a thread: there the server leaves the process's signals to us.
    """
    port = free_port()
    served = Neighbour(port)
    app = Starlette(
        routes=[
            Route("/{name}", served.picture),
            Route("/webhook", served.webhook, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_config=None))
    thread = threading.Thread(target=server.run, name="neighbour")
    thread.start()

    async def started() -> bool:
        return server.started

    try:
        await until_ready(started, "the demo's own web server", START_SECONDS)
        yield served
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)
