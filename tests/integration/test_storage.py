"""The object store, over a real S3 server."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2
import pytest
from types_boto3_s3 import S3Client

from common.domain.errors import StorageUnavailableError
from common.settings import StorageSettings
from common.storage import Storage
from deploy.local.ports import LOOPBACK, free_port

KEY = "4/generations/6f2a1c1e-1-0.png"
PIXELS = b"\x89PNG not really"


@pytest.fixture
def storage(bucket: StorageSettings) -> Iterator[Storage]:
    opened = Storage(bucket)
    yield opened
    opened.close()


def changed(settings: StorageSettings, **fields: object) -> StorageSettings:
    return settings.model_copy(update=fields)


async def test_what_was_put_is_read_back(storage: Storage) -> None:
    await storage.put(KEY, PIXELS)
    assert await storage.get(KEY) == PIXELS


async def test_type_and_caching_are_set(
    storage: Storage, bucket: StorageSettings, s3_client: S3Client
) -> None:
    await storage.put(KEY, PIXELS)
    await storage.put("4/inputs/x", b"<svg/>", content_type="image/svg+xml")
    image = s3_client.head_object(Bucket=bucket.bucket, Key=KEY)
    assert (image["ContentType"], image["CacheControl"]) == ("image/png", bucket.cache_control)
    other = s3_client.head_object(Bucket=bucket.bucket, Key="4/inputs/x")
    assert other["ContentType"] == "image/svg+xml"


async def test_a_signed_link_can_be_fetched_for_its_time(
    storage: Storage, bucket: StorageSettings
) -> None:
    await storage.put(KEY, PIXELS)
    link = storage.link(KEY)
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == [str(bucket.presigned_seconds)]
    async with httpx2.AsyncClient() as client:
        answer = await client.get(link)
        assert (answer.status_code, answer.content) == (200, PIXELS)
        assert answer.headers["content-type"] == "image/png"
        spoiled = await client.get(link[:-1] + ("0" if link[-1] != "0" else "1"))
        assert spoiled.status_code == 403


@pytest.mark.parametrize("base", ["https://cdn.test/results", "https://cdn.test/results/"])
def test_a_public_link_stands_under_the_base(bucket: StorageSettings, base: str) -> None:
    storage = Storage(changed(bucket, public_base_url=base))
    assert storage.link(KEY) == f"https://cdn.test/results/{KEY}"
    assert storage.link("a b/ü?.png") == "https://cdn.test/results/a%20b/%C3%BC%3F.png"
    storage.close()


async def test_a_missing_object_is_told(storage: Storage) -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        await storage.get("nothing/here.png")
    assert caught.value.message == "the image store is not available"
    assert "NoSuchKey" in caught.value.detail


async def test_a_store_that_is_away_is_told(bucket: StorageSettings) -> None:
    away = changed(bucket, endpoint_url=f"http://{LOOPBACK}:{free_port()}", timeout_seconds=1.0)
    storage = Storage(away)
    for call in (storage.put(KEY, PIXELS), storage.get(KEY), storage.check()):
        with pytest.raises(StorageUnavailableError, match="not available"):
            await call
    storage.close()


async def test_a_wrong_key_is_told(bucket: StorageSettings) -> None:
    storage = Storage(changed(bucket, access_key_id="stranger"))
    with pytest.raises(StorageUnavailableError):
        await storage.put(KEY, PIXELS)
    storage.close()


async def test_a_bucket_is_created_once(bucket: StorageSettings) -> None:
    storage = Storage(changed(bucket, bucket=f"new-{uuid4().hex}"))
    with pytest.raises(StorageUnavailableError):
        await storage.check()
    await storage.create_bucket()
    await storage.put(KEY, PIXELS)
    await storage.create_bucket()
    await storage.check()
    assert await storage.get(KEY) == PIXELS
    storage.close()
