"""Upload generated images and read input images; uploads survive an outage of the store."""

import asyncio
from typing import BinaryIO

from common.domain.errors import StorageOutageError
from common.object_store.storage import Storage
from common.settings import WorkerSettings
from worker.image_store.outage import StoreOutage
from worker.image_store.spool import ImageSpool


class ImageStore:
    """The images of jobs in the object store; uploads are retried while the store is unavailable.

    During an outage, one upload at a time is tried, with pauses that grow; as soon as one succeeds,
    all others are tried. See docs/decisions/0037-generated-images-wait-for-the-object-store.md.
    """

    def __init__(self, storage: Storage, settings: WorkerSettings) -> None:
        self.outage = StoreOutage(longest_pause=settings.store_retry_seconds)
        self.spool = ImageSpool(memory_bytes=settings.waiting_image_bytes)
        self._storage = storage
        self._wait_seconds = settings.store_wait_seconds
        self._next_try = asyncio.Lock()

    async def get(self, key: str) -> bytes:
        """Read an object, which must exist.

        Raises:
            StorageOutageError: the store is unavailable.
            StorageUnavailableError: the object does not exist.
        """
        try:
            return await self._storage.get(key)
        except StorageOutageError as error:
            self.outage.record_failure(error)
            raise

    async def put(self, key: str, image: bytes, content_type: str) -> None:
        """Store an image under a new key; wait for the end of an outage.

        The caller must not hold another reference to `image`, or its memory is not freed.

        Raises:
            StorageOutageError: the store was unavailable for `store_wait_seconds`.
            StorageUnavailableError: the store does not accept this image.
        """
        if not self.outage.is_active and await self._try(key, image, content_type):
            return
        async with self.spool.keep(image) as kept:
            del image
            try:
                async with asyncio.timeout(self._wait_seconds):
                    while not await self._retry(key, kept, content_type):
                        pass
            except TimeoutError as error:
                raise StorageOutageError(
                    "this service's own image storage could not be reached",
                    detail=f"an image has waited {self._wait_seconds:g} seconds for the store",
                ) from error

    async def _retry(self, key: str, kept: bytes | BinaryIO, content_type: str) -> bool:
        async with self._next_try:
            if self.outage.is_active:
                await self.outage.wait_for_next_try()
            if self.outage.is_active:
                return await self._try(key, kept, content_type)
        return await self._try(key, kept, content_type)

    async def _try(self, key: str, image: bytes | BinaryIO, content_type: str) -> bool:
        """Upload an image; return False if the store is unavailable."""
        if not isinstance(image, bytes):
            image.seek(0)
        try:
            await self._storage.put(key, image, content_type=content_type)
        except StorageOutageError as error:
            self.outage.record_failure(error)
            return False
        self.outage.record_success()
        return True
