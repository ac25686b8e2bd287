"""Which errors of the object store are an outage, and which concern one object only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.domain.errors import StorageOutageError, StorageUnavailableError
from common.object_store.storage import Storage
from common.settings import StorageSettings
from deploy.local.servers.ports import LOOPBACK
from tests.support.connections import port_of, serving


@asynccontextmanager
async def failing_store(
    bucket: StorageSettings, status: int, code: str
) -> AsyncIterator[StorageSettings]:
    """Serve one error on loopback, with the error code in the body unless it is empty."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>" if code else ""

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} No\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        writer.close()

    async with serving(fail) as server:
        address = f"http://{LOOPBACK}:{port_of(server)}"
        yield bucket.model_copy(update={"endpoint_url": address})


@pytest.mark.parametrize(
    ("status", "code", "is_outage"),
    [
        (503, "SlowDown", True),
        (507, "XMinioStorageFull", True),
        (400, "ExpiredToken", True),
        (403, "AccessDenied", True),
        (403, "QuotaExceeded", True),
        (404, "NoSuchBucket", True),
        (404, "NoSuchKey", False),
        (403, "InvalidObjectState", False),
        (400, "EntityTooLarge", False),
        (413, "", False),
    ],
)
async def test_errors_of_all_objects_are_an_outage(
    bucket: StorageSettings, status: int, code: str, *, is_outage: bool
) -> None:
    async with failing_store(bucket, status, code) as settings:
        storage = Storage(settings)
        with pytest.raises(StorageUnavailableError) as caught:
            await storage.put("results/image.png", b"image")
        storage.close()
    assert isinstance(caught.value, StorageOutageError) is is_outage
