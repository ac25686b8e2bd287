"""Client of the object store: boto3 with any S3-compatible endpoint.

boto3 blocks, so every transfer runs in a thread pool. Links are made in the caller's thread,
because this does not access the network; only refreshing temporary credentials does.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header

from common.domain.errors import StorageOutageError, StorageUnavailableError
from common.object_store.credentials import AccessKeys
from common.object_store.presigning import Presigner
from common.runtime.clock import utc_now
from common.settings import StorageSettings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

T = TypeVar("T")

TRANSFERS_AT_ONCE: Final = 8
DELETIONS_AT_ONCE: Final = 4  # leaves threads free for transfers
PNG: Final = "image/png"
# Error codes that concern one object; all other errors would meet any object.
OBJECT_ERRORS: Final = {"NoSuchKey", "InvalidObjectState", "EntityTooLarge", "KeyTooLongError"}
TOO_LARGE: Final = 413  # the status of a proxy, which knows no error codes


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a listing; `modified_at` is the store's own timestamp."""

    key: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, ordered by key.

    `next_after` is the key after which the next page begins, or None on the last page.
    """

    objects: tuple[StoredObject, ...]
    next_after: str | None


class Storage:
    """Asynchronous client of one bucket."""

    def __init__(self, settings: StorageSettings) -> None:
        """Prepare the client; its connections are opened by the first transfer.

        Raises:
            ConfigurationError: there are no credentials.
        """
        self._settings = settings
        self._bucket = settings.bucket
        self._threads = ThreadPoolExecutor(TRANSFERS_AT_ONCE, thread_name_prefix="storage")
        session = boto3.session.Session()
        self._access_keys = AccessKeys(session, settings)
        key_id, secret = settings.fixed_keys or (None, None)
        token = settings.session_token
        self._client: S3Client = session.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            # None, all three: the credentials of the session, refreshed when they are due.
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=None if token is None else token.get_secret_value(),
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": settings.addressing_style},
                connect_timeout=settings.timeout_seconds,
                read_timeout=settings.timeout_seconds,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=TRANSFERS_AT_ONCE,
                # Not every S3-compatible store supports the newer checksum trailers.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        # boto3 sends `Expect: 100-continue` before each upload: a second round trip that small
        # objects do not need.
        self._client.meta.events.unregister("before-call.s3", add_expect_header)
        self._presigner = Presigner(
            endpoint_url=settings.presigned_endpoint_url or self._client.meta.endpoint_url,
            bucket=settings.bucket,
            region=settings.region,
            virtual=settings.addressing_style == "virtual",
        )

    async def put(self, key: str, data: bytes | BinaryIO, *, content_type: str = PNG) -> None:
        """Store an object under a key that has not been used before.

        `data` may be a seekable file, which is read in pieces.

        Raises:
            StorageOutageError: three tries failed, as they would for any object.
            StorageUnavailableError: the store does not accept this object.
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
        """Download an object, which must exist.

        Raises:
            StorageOutageError: three tries failed, as they would for any object.
            StorageUnavailableError: the object does not exist.
        """
        return await self._run(lambda: self._read(key))

    async def find(self, key: str) -> bytes | None:
        """Download an object, or return None if it does not exist.

        Raises:
            StorageUnavailableError: three tries failed.
        """
        return await self._run(lambda: self._read_or_none(key))

    async def delete(self, keys: Collection[str]) -> None:
        """Delete objects; a missing object is not an error.

        Objects are deleted one by one, because the bulk request needs a checksum header on which
        stores and boto3 disagree (boto3 sends CRC32 since 1.36; several stores accept only
        Content-MD5).

        Raises:
            StorageUnavailableError: an object could not be deleted; others may have been deleted.
        """
        waiting = iter(keys)
        while batch := list(islice(waiting, DELETIONS_AT_ONCE)):
            await asyncio.gather(*(self._run(partial(self._remove, key)) for key in batch))

    async def list_page(self, after: str | None, *, prefix: str = "") -> Page:
        """Return up to 1,000 objects whose keys start with `prefix` and follow `after`.

        If `after` is None, the page starts at the first key.

        Raises:
            StorageUnavailableError: three tries failed.
        """
        return await self._run(lambda: self._list(after, prefix))

    async def check(self) -> None:
        """Check that the bucket exists and can be accessed.

        Raises:
            StorageUnavailableError: the bucket does not exist, or access was denied.
        """
        await self._run(partial(self._client.head_bucket, Bucket=self._bucket))

    async def create_bucket(self) -> None:
        """Create the bucket if it does not exist.

        Raises:
            StorageUnavailableError: the bucket could not be created.
        """
        try:
            await self.check()
        except StorageUnavailableError:
            await self._run(partial(self._client.create_bucket, Bucket=self._bucket))

    async def link(self, key: str) -> str:
        """Return a URL for reading the object, either public or presigned for a limited time.

        Raises:
            StorageUnavailableError: temporary credentials have expired and could not be refreshed.
        """
        if self._settings.public_base_url is not None:
            return f"{self._settings.public_base_url.rstrip('/')}/{quote(key)}"
        keys = self._access_keys
        access_key = await self._run(keys.read) if keys.is_refresh_needed() else keys.read()
        seconds = self._settings.presigned_seconds
        return self._presigner.link(key, access_key=access_key, seconds=seconds, now=utc_now())

    def close(self) -> None:
        """Wait for running transfers, then stop the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def _read_or_none(self, key: str) -> bytes | None:
        try:
            return self._read(key)
        except self._client.exceptions.NoSuchKey:
            return None

    def _remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=key)

    def _list(self, after: str | None, prefix: str) -> Page:
        request: ListObjectsV2RequestTypeDef = {"Bucket": self._bucket, "Prefix": prefix}
        if after is not None:
            # Not the store's own token: a listing may go on hours later, in another process.
            request["StartAfter"] = after
        response = self._client.list_objects_v2(**request)
        found = response.get("Contents", [])
        objects = tuple(StoredObject(entry["Key"], entry["LastModified"]) for entry in found)
        return Page(objects, objects[-1].key if objects and response["IsTruncated"] else None)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (BotoCoreError, ClientError) as error:
            kind = StorageUnavailableError if _is_of_one_object(error) else StorageOutageError
            raise kind(
                "this service's own image storage could not be reached", detail=str(error)
            ) from error


def _is_of_one_object(error: Exception) -> bool:
    """Return whether the store rejected this object, although others may be accepted."""
    if not isinstance(error, ClientError):
        return False
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status == TOO_LARGE or error.response["Error"]["Code"] in OBJECT_ERRORS
