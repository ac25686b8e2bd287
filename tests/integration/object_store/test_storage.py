"""The object store client with a real S3 server."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2
import pytest
from types_boto3_s3 import S3Client

from common.domain.errors import StorageUnavailableError
from common.object_store.storage import Page, Storage, StoredObject
from common.settings import StorageSettings
from deploy.local.servers.ports import LOOPBACK, free_port

KEY = "4/generations/6f2a1c1e-1-0.png"
PIXELS = b"\x89PNG not really"


@pytest.fixture
def storage(bucket: StorageSettings) -> Iterator[Storage]:
    opened = Storage(bucket)
    yield opened
    opened.close()


def changed(settings: StorageSettings, **fields: object) -> StorageSettings:
    return settings.model_copy(update=fields)


async def test_a_stored_object_is_read_back(storage: Storage) -> None:
    await storage.put(KEY, PIXELS)
    assert await storage.get(KEY) == PIXELS


async def test_content_type_and_cache_control_are_stored(
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
    link = await storage.link(KEY)
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == [str(bucket.presigned_seconds)]
    async with httpx2.AsyncClient() as client:
        response = await client.get(link)
        assert (response.status_code, response.content) == (200, PIXELS)
        assert response.headers["content-type"] == "image/png"
        spoiled = await client.get(link[:-1] + ("0" if link[-1] != "0" else "1"))
        assert spoiled.status_code == 403


@pytest.mark.parametrize("base", ["https://cdn.test/results", "https://cdn.test/results/"])
async def test_a_public_link_starts_with_the_base_url(bucket: StorageSettings, base: str) -> None:
    storage = Storage(changed(bucket, public_base_url=base))
    assert await storage.link(KEY) == f"https://cdn.test/results/{KEY}"
    assert await storage.link("a b/ü?.png") == "https://cdn.test/results/a%20b/%C3%BC%3F.png"
    storage.close()


async def test_a_missing_object_is_an_error(storage: Storage) -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        await storage.get("nothing/here.png")
    assert caught.value.message == "this service's own image storage could not be reached"
    assert "NoSuchKey" in caught.value.detail


async def test_an_unavailable_store_is_an_error(bucket: StorageSettings) -> None:
    unavailable = changed(
        bucket, endpoint_url=f"http://{LOOPBACK}:{free_port()}", timeout_seconds=1.0
    )
    storage = Storage(unavailable)
    for call in (
        storage.put(KEY, PIXELS),
        storage.get(KEY),
        storage.find(KEY),
        storage.delete([KEY]),
        storage.list_page(None),
        storage.check(),
    ):
        with pytest.raises(StorageUnavailableError, match="could not be reached"):
            await call
    storage.close()


async def test_a_wrong_access_key_is_an_error(bucket: StorageSettings) -> None:
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


async def test_an_object_is_found_or_not(storage: Storage) -> None:
    await storage.put(KEY, PIXELS)
    assert await storage.find(KEY) == PIXELS
    assert await storage.find("nothing/here.png") is None


async def test_a_missing_bucket_is_an_error_not_a_missing_object(bucket: StorageSettings) -> None:
    storage = Storage(changed(bucket, bucket=f"new-{uuid4().hex}"))
    with pytest.raises(StorageUnavailableError) as caught:
        await storage.find(KEY)
    assert "NoSuchBucket" in caught.value.detail
    storage.close()


async def test_deleting_existing_and_missing_objects(storage: Storage) -> None:
    keys = [f"4/generations/{number}.png" for number in range(10)]
    for key in keys:
        await storage.put(key, PIXELS)
    await storage.delete([])
    await storage.delete([*keys[:9], "nothing/here.png"])
    await storage.delete(keys[:2])
    assert [found.key for found in (await storage.list_page(None)).objects] == keys[9:]


async def test_a_bucket_is_listed_page_by_page(
    bucket: StorageSettings, s3_client: S3Client
) -> None:
    """Pages of two, because it would take long to store more than 1,000 objects."""
    keys = [".infill/installation", "1/a.png", "1/b.png", "10/a.png", "ü &?.txt"]
    storage = Storage(bucket)
    for key in reversed(keys):
        s3_client.put_object(Bucket=bucket.bucket, Key=key, Metadata={"mtime": "1580000000"})
    events = storage._client.meta.events
    events.register("before-parameter-build.s3.ListObjectsV2", two_at_a_time)
    walked: list[StoredObject] = []
    after, pages = None, 0
    while pages == 0 or after is not None:
        page = await storage.list_page(after)
        walked += page.objects
        after = page.next_after
        pages += 1
    assert [found.key for found in walked] == keys
    assert {found.modified_at for found in walked} == {datetime(2020, 1, 26, 0, 53, 20, tzinfo=UTC)}
    assert pages == 3
    storage.close()


async def test_a_listing_is_limited_to_a_prefix(storage: Storage) -> None:
    for key in ("1/a", "1/b/c", "10/a", "11", "x/1/a"):
        await storage.put(key, PIXELS)
    for after, keys in ((None, ["1/a", "1/b/c"]), ("1/a", ["1/b/c"]), ("1/b/c", [])):
        page = await storage.list_page(after, prefix="1/")
        assert [found.key for found in page.objects] == keys


def two_at_a_time(params: dict[str, Any], **_: Any) -> None:
    params["MaxKeys"] = 2


async def test_an_empty_bucket_is_one_empty_page(storage: Storage) -> None:
    assert await storage.list_page(None) == Page((), None)
    assert await storage.list_page("4/generations/x") == Page((), None)
