"""Server-sent events of a job: previews while it runs, then its images."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.dialects.openai.ending import end_wait
from api.dialects.openai.errors import error_body
from api.dialects.openai.responses import (
    completed_event,
    job_headers,
    partial_event,
    read_images,
)
from api.errors.api_error import ApiError
from api.jobs.wait import Wait, follow_job, hanging_up
from api.services import Services
from common.domain.job import FINAL_STATES
from common.domain.record import JobRecord
from common.runtime.clock import monotonic

# How often the progress is read while previews are wanted.
PREVIEW_SECONDS: Final = 0.3
# A comment is sent this often, so that proxies do not close the connection.
COMMENT_SECONDS: Final = 10.0

SendEvent = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a request wants to receive, and whether it can be repeated for the same job."""

    quality: str
    partial_images: int
    is_repeatable: bool


class EventStream(Response):
    """The response that streams the events of one job until its end."""

    media_type = "text/event-stream"

    def __init__(self, services: Services, job: JobRecord, options: StreamOptions) -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no", **job_headers(job)}
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._services = services
        self._job = job
        self._options = options
        self._sent_previews: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; a caller that disconnects ends the wait for the job."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def send_event(event: dict[str, Any]) -> None:
            await _send_text(send, f"event: {event['type']}\ndata: ", orjson.dumps(event))

        try:
            async with _disconnection(scope, receive) as gone:
                job = await self._follow(gone, send_event, send)
            job = await end_wait(self._services, job, is_repeatable=self._options.is_repeatable)
            for image in await read_images(self._services.storage, job):
                await send_event(completed_event(job, image, self._options.quality))
        except ApiError as error:
            await send_event({"type": "error", **error_body(error)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, gone: asyncio.Event, send_event: SendEvent, send: Send) -> JobRecord:
        """Return the job when it has ended, the wait is over or the caller is gone."""
        deadline = monotonic() + self._services.settings.gateway.openai_wait_seconds
        job, commented = self._job, monotonic()

        async def hung_up() -> None:
            await gone.wait()

        while job.state not in FINAL_STATES and not gone.is_set():
            begun = monotonic()
            wants_previews = len(self._sent_previews) < self._options.partial_images
            pause = min(PREVIEW_SECONDS if wants_previews else COMMENT_SECONDS, deadline - begun)
            if pause <= 0:
                break
            job = (await follow_job(self._services, job, Wait(pause, hung_up))).job
            if job.state in FINAL_STATES or monotonic() - begun < pause:
                break  # ended, or the gateway is stopping
            if wants_previews:
                await self._send_preview(job, send_event)
            if monotonic() - commented >= COMMENT_SECONDS:
                commented = monotonic()
                await _send_text(send, ": waiting", b"")
        return job

    async def _send_preview(self, job: JobRecord, send_event: SendEvent) -> None:
        """Send the current preview, if the job has come far enough since the last one."""
        progress = await self._services.progress_reader.read(job, preview=True)
        if progress is None or progress.preview is None:
            return
        sent = len(self._sent_previews)
        is_due = progress.step * (self._options.partial_images + 1) >= progress.steps * (sent + 1)
        if is_due and progress.preview not in self._sent_previews:
            self._sent_previews.append(progress.preview)
            await send_event(partial_event(job, progress.preview, sent, self._options.quality))


async def _send_text(send: Send, head: str, data: bytes) -> None:
    body = head.encode() + data + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


@asynccontextmanager
async def _disconnection(scope: Scope, receive: Receive) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when the caller disconnects."""
    gone = asyncio.Event()

    async def watch() -> None:
        await hanging_up(Request(scope, receive))()
        gone.set()

    task = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        task.cancel()
