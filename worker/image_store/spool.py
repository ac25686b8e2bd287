"""Generated images that wait for the object store: in memory up to a bound, then in files."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from common.domain.errors import StorageOutageError
from common.runtime.metrics import IMAGE_BYTES_WAITING, IMAGES_WAITING


class ImageSpool:
    """Encoded images of one worker, up to `memory_bytes` in memory and the others in files.

    The files are temporary and have no name, so they disappear with the process however it ends.
    """

    def __init__(self, *, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self.bytes_in_memory = 0

    @asynccontextmanager
    async def keep(self, image: bytes) -> AsyncIterator[bytes | BinaryIO]:
        """Keep `image` during the block, and yield it or a file with its bytes.

        The caller must not hold another reference to `image`, or its memory is not freed.

        Raises:
            StorageOutageError: the file could not be written, for example to a full disk.
        """
        size = len(image)
        if self.bytes_in_memory + size > self._memory_bytes:
            with await asyncio.to_thread(_write_file, image) as file:
                del image
                async with self._counted("file", size):
                    yield file
        else:
            self.bytes_in_memory += size
            try:
                async with self._counted("memory", size):
                    yield image
            finally:
                self.bytes_in_memory -= size

    @asynccontextmanager
    async def _counted(self, place: str, size: int) -> AsyncIterator[None]:
        IMAGES_WAITING.labels(place=place).inc()
        IMAGE_BYTES_WAITING.labels(place=place).inc(size)
        try:
            yield
        finally:
            IMAGES_WAITING.labels(place=place).dec()
            IMAGE_BYTES_WAITING.labels(place=place).dec(size)


def _write_file(image: bytes) -> BinaryIO:
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        file.write(image)
        file.flush()
    except OSError as error:
        raise StorageOutageError(
            "this service's own image storage could not be reached",
            detail=f"a generated image cannot wait in a temporary file: {error}",
        ) from error
    return file
