"""The object store: boto3 against any S3-compatible endpoint.

boto3 blocks, so every transfer runs in a thread of this module's own pool; making a link
needs no network and runs where it is called.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header

from common.domain.errors import StorageUnavailableError
from common.object_store.presigning import Presigner
from common.runtime.clock import utc_now
from common.settings import StorageSettings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

T = TypeVar("T")

TRANSFERS_AT_ONCE: Final = 8
DELETIONS_AT_ONCE: Final = 4  # so that whoever reads or writes meanwhile finds a free thread
PNG: Final = "image/png"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store lists it; `modified_at` is by the store's clock."""

    key: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects of a bucket, in the order of their keys.

    The next page follows `next_after`, None where this was the last.
    """

    objects: tuple[StoredObject, ...]
    next_after: str | None


class Storage:
    """One bucket."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._threads = ThreadPoolExecutor(TRANSFERS_AT_ONCE, thread_name_prefix="storage")
        self._client: S3Client = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key.get_secret_value(),
            config=Config(
                signature_version="s3v4",
                # Names of buckets in the path: what R2, MinIO and the local store all speak.
                s3={"addressing_style": "path"},
                connect_timeout=settings.timeout_seconds,
                read_timeout=settings.timeout_seconds,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=TRANSFERS_AT_ONCE,
                # Newer checksum trailers are not understood by every S3-compatible store.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        # boto3 asks the store for leave before each upload (Expect: 100-continue): a second round
        # trip for objects that are small and that no store of ours refuses.
        self._client.meta.events.unregister("before-call.s3", add_expect_header)
        self._presigner = Presigner(
            endpoint_url=settings.presigned_endpoint_url or self._client.meta.endpoint_url,
            bucket=settings.bucket,
            region=settings.region,
            access_key_id=settings.access_key_id,
            secret=settings.secret_access_key.get_secret_value(),
        )

    async def put(self, key: str, data: bytes, *, content_type: str = PNG) -> None:
        """Store an object under a key that is never written twice.

        Raises:
            StorageUnavailableError: the store did not take it, after three tries.
        """
        await self._run(
            partial(
                self._client.put_object,
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentType=content_type,
                CacheControl=self._settings.cache_control,
            )
        )

    async def get(self, key: str) -> bytes:
        """Read an object whole.

        Raises:
            StorageUnavailableError: the store did not give it, after three tries.
        """
        return await self._run(lambda: self._read(key))

    async def find(self, key: str) -> bytes | None:
        """Read an object whole; None where there is none.

        Raises:
            StorageUnavailableError: the store did not say, after three tries.
        """
        return await self._run(lambda: self._read_if_there(key))

    async def delete(self, keys: Collection[str]) -> None:
        """Delete objects; one that is not there is as good as deleted.

        One request each: the request that deletes many wants a checksum in a header, and stores
        disagree with boto3 about which (it sends CRC32 since 1.36, several take Content-MD5 alone).

        Raises:
            StorageUnavailableError: the store refused one; others may be gone.
        """
        waiting = iter(keys)
        while batch := list(islice(waiting, DELETIONS_AT_ONCE)):
            await asyncio.gather(*(self._run(partial(self._remove, key)) for key in batch))

    async def list_page(self, after: str | None, *, prefix: str = "") -> Page:
        """Give the objects whose keys follow `after`, up to a thousand; None begins with the first.

        Only those whose keys begin with `prefix`.

        Raises:
            StorageUnavailableError: the store did not say, after three tries.
        """
        return await self._run(lambda: self._list(after, prefix))

    async def check(self) -> None:
        """Ask the store whether the bucket is there and ours.

        Raises:
            StorageUnavailableError: it is not.
        """
        await self._run(partial(self._client.head_bucket, Bucket=self._bucket))

    async def create_bucket(self) -> None:
        """Create the bucket; one that is ours already is left alone.

        Raises:
            StorageUnavailableError: the store refused.
        """
        try:
            await self.check()
        except StorageUnavailableError:
            await self._run(partial(self._client.create_bucket, Bucket=self._bucket))

    def link(self, key: str) -> str:
        """Give an address to read the object from: public, or signed for a limited time."""
        if self._settings.public_base_url is not None:
            return f"{self._settings.public_base_url.rstrip('/')}/{quote(key)}"
        return self._presigner.link(key, seconds=self._settings.presigned_seconds, now=utc_now())

    def close(self) -> None:
        """Wait for transfers under way and release the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def _read_if_there(self, key: str) -> bytes | None:
        try:
            return self._read(key)
        except self._client.exceptions.NoSuchKey:
            return None

    def _remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def _list(self, after: str | None, prefix: str) -> Page:
        asked: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": prefix}
        if after is not None:
            # Not the store's own token: a walk goes on hours later, in another process.
            asked["StartAfter"] = after
        answer = self._client.list_objects_v2(**asked)
        found = answer.get("Contents", [])
        objects = tuple(StoredObject(entry["Key"], entry["LastModified"]) for entry in found)
        return Page(objects, objects[-1].key if objects and answer["IsTruncated"] else None)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailableError(
                "the image store is not available", detail=str(error)
            ) from error
