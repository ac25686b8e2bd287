"""The world around the demo: somebody's pictures to fetch, and somebody's webhook to call."""

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
    """One webhook as it arrived; `headers` have lower-case names."""

    arrived_at: datetime
    headers: dict[str, str]
    body: bytes


class SampleServer:
    """Serves pictures, and queues the webhooks that come in."""

    def __init__(self, port: int, pictures: Path) -> None:
        self.base_url = f"http://{LOOPBACK}:{port}"
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self._pictures = pictures
        self._loop = asyncio.get_running_loop()

    async def picture(self, request: Request) -> Response:
        """Answer with one of the pictures."""
        return FileResponse(self._pictures / request.path_params["name"])

    async def webhook(self, request: Request) -> Response:
        """Take a webhook and say thanks."""
        call = Call(utc_now(), dict(request.headers), await request.body())
        self._loop.call_soon_threadsafe(self.calls.put_nowait, call)
        return Response(status_code=204)


@asynccontextmanager
async def sample_server(pictures: Path) -> AsyncIterator[SampleServer]:
    """Serve the folder `pictures` on a free port of loopback while the block runs.

    In a thread: there the server leaves the process's signals to us.
    """
    port = free_port()
    served = SampleServer(port, pictures)
    app = Starlette(
        routes=[
            Route("/{name}", served.picture),
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
