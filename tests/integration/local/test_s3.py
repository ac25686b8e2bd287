"""The S3 server from its wheel, through the product's own client and through plain HTTP."""

import asyncio
import socket
from http.client import HTTPMessage
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from common.domain.errors import ConfigurationError
from common.object_store.storage import Storage
from common.settings import StorageSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK
from tests.integration.local import parts


async def read(url: str) -> tuple[bytes, HTTPMessage]:
    def fetch() -> tuple[bytes, HTTPMessage]:
        with urlopen(url) as response:  # noqa: S310 - our own link
            return response.read(), response.headers

    return await asyncio.to_thread(fetch)


async def test_a_link_returns_the_object_with_its_headers(bucket: StorageSettings) -> None:
    storage = Storage(bucket)
    await storage.put("a/image.png", b"pixels")
    body, headers = await read(await storage.link("a/image.png"))
    assert body == b"pixels"
    assert headers["Content-Type"] == "image/png"
    assert headers["Cache-Control"] == bucket.cache_control


async def test_a_changed_link_is_rejected(bucket: StorageSettings) -> None:
    storage = Storage(bucket)
    await storage.put("a/image.png", b"pixels")
    await storage.put("b/image.png", b"secret")
    link = await storage.link("a/image.png")
    for hostile in (link.replace("/a/", "/b/"), link.partition("?")[0]):
        with pytest.raises(HTTPError, match=r"HTTP Error 40[03]") as rejected:
            await read(hostile)
        rejected.value.close()


async def test_objects_outlive_a_restart(tmp_path: Path) -> None:
    server = parts.s3(tmp_path)
    storage = Storage(server.settings())
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        await storage.put("a/image.png", b"pixels")
    (stored,) = tmp_path.glob("s3/*/a/image.png")
    assert stored.stat().st_mode & 0o777 == 0o600
    async with Supervisor(tmp_path / "logs") as supervisor:
        await parts.start(supervisor, server)
        body, headers = await read(await storage.link("a/image.png"))
        assert body == b"pixels"
        assert headers["Content-Type"] == "image/png"
    assert not await server.is_ready()


async def test_a_used_port_is_named(tmp_path: Path) -> None:
    server = parts.s3(tmp_path)
    rejected = pytest.raises(ConfigurationError, match=f"S3 cannot listen on .*:{server.port}")
    with socket.create_server((LOOPBACK, server.port)), rejected:
        await server.prepare()
