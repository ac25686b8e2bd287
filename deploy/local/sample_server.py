"""A web server for the demo, which serves the input images and receives the webhook."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from common.runtime.clock import utc_now
from deploy.local.processes.readiness import wait_until_ready
from deploy.local.servers.ports import LOOPBACK, free_port

SAMPLES = Path(str(files("deploy.local"))) / "samples"
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One received webhook call; the names in `headers` are lower-case."""

    arrived_at: datetime
    headers: dict[str, str]
    body: bytes


class SampleServer:
    """The request handlers of the demo's web server; received webhooks are put into `calls`."""

    def __init__(self, port: int, images: Path) -> None:
        self.base_url = f"http://{LOOPBACK}:{port}"
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self._images = images
        self._loop = asyncio.get_running_loop()

    async def image(self, request: Request) -> Response:
        """Respond with the image file named in the path."""
        return FileResponse(self._images / request.path_params["name"])

    async def webhook(self, request: Request) -> Response:
        """Put the received webhook into `calls`, and respond with status 204."""
        call = Call(utc_now(), dict(request.headers), await request.body())
        self._loop.call_soon_threadsafe(self.calls.put_nowait, call)
        return Response(status_code=204)


@asynccontextmanager
async def sample_server(images: Path) -> AsyncIterator[SampleServer]:
    """Serve the folder `images` on a free port of loopback for the duration of the block.

    The server runs in its own thread, because uvicorn would replace signal handlers if it
    ran in the main thread.
    """
    port = free_port()
    served = SampleServer(port, images)
    app = Starlette(
        routes=[
            Route("/{name}", served.image),
            Route("/webhook", served.webhook, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_config=None))
    thread = threading.Thread(target=server.run, name="sample_server")
    thread.start()

    async def started() -> bool:
        return server.started

    try:
        await wait_until_ready(started, "the demo's own web server", START_SECONDS)
        yield served
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)
