"""A server of good and bad images on loopback, whose responses can be held back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.hostile.servers.peers import Peer, listening
from tests.unit.worker.engine.sample_images import disc, encoded, noise

DEADLINE_SECONDS = 30.0
INIT, MASK = encoded(noise()), encoded(disc())


def http_response(body: bytes, status: str = "200 OK") -> bytes:
    """Return an HTTP response with an image, or what should be one."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: image/png\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass(slots=True)
class ImageHost:
    """Image server; `pages` are its responses by path, `requested` the paths requested so far."""

    peer: Peer | None = None
    requested: list[str] = field(default_factory=list)
    pages: dict[str, bytes] = field(
        default_factory=lambda: {
            "/init.png": http_response(INIT),
            "/mask.png": http_response(MASK),
            "/text.png": http_response(b"<html>not an image</html>"),
            "/cut.png": http_response(INIT[: len(INIT) // 2]),
            "/busy.png": http_response(b"", "503 Service Unavailable"),
        }
    )
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def url(self, name: str, *, host: str | None = None) -> str:
        assert self.peer is not None
        return self.peer.url(f"/{name}", host=host)

    def hold(self, name: str) -> asyncio.Event:
        """Return an event; requests for this image get no response before it is set."""
        return self.holds.setdefault(f"/{name}", asyncio.Event())

    async def wait_for_request(self, name: str, times: int = 1) -> None:
        """Wait until an image has been requested `times` times."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.requested.count(f"/{name}") >= times)

    async def serve(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        path = (await peer.request(reader)).split(b" ")[1].decode()
        async with self._changed:
            self.requested.append(path)
            self._changed.notify_all()
        if path in self.holds:
            await self.holds[path].wait()
        writer.write(self.pages.get(path, http_response(b"", "404 Not Found")))
        await writer.drain()


@asynccontextmanager
async def open_image_host() -> AsyncIterator[ImageHost]:
    """Serve the images while the block lasts."""
    image_host = ImageHost()
    async with listening(image_host.serve) as image_host.peer:
        yield image_host
