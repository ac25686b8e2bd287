"""Transfer images: download and decode input images, encode and upload results."""

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from common.domain.errors import InfillError
from common.domain.generation import GenerationRequest
from common.domain.object_keys import result_key
from common.domain.record import InputImage, JobRecord
from common.outbound import Guard
from common.runtime.asyncio_tools import run_in_thread
from common.runtime.metrics import STAGE_SECONDS
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.images.encode import encode_image
from worker.engine.images.inputs import (
    DecodedImage,
    InputImages,
    Size,
    image_fields,
    mask_field,
    missing_image,
)
from worker.engine.interface import GenerationResult
from worker.image_store.store import ImageStore
from worker.sharing.fair_slots import FairSlots

T = TypeVar("T")

# Encoding releases the interpreter's lock: two threads keep up with the engine.
ENCODE_THREADS: Final = 2


class ImageTransfers:
    """Downloads and decodes input images; encodes and uploads results."""

    def __init__(self, guard: Guard, store: ImageStore, decoders: DecoderPool) -> None:
        self.store = store
        self._guard = guard
        self._decoders = decoders
        self._decoder_slots = FairSlots(decoders.number)
        # Separate pools, so that an image that takes long to decode delays no upload.
        self._decode_threads = ThreadPoolExecutor(decoders.number, thread_name_prefix="decode")
        self._encode_threads = ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode")

    def start(self) -> None:
        """Start the decoder processes, so that the first job does not have to wait for them."""
        self._decoders.start()

    async def fetch(self, job: JobRecord) -> InputImages:
        """Fetch and decode the input images of `job` concurrently.

        Raises:
            AddressNotAllowedError, FetchRejectedError, FetchFailedError: an image could not be
                fetched; the message begins with the name of the field.
            InvalidImageError: the bytes are not an acceptable image, or the image is missing.
            DecodingFailedError: the decoder process crashed or hung on an image.
            StorageOutageError: the object store is unavailable.
            StorageUnavailableError: an image is not in the object store.
        """
        with STAGE_SECONDS.labels(stage="fetch").time():
            fields = image_fields(job.request.endpoint, mask_field(job.inputs))
            size = (job.request.width, job.request.height)
            for field in fields:
                if field not in job.inputs:
                    raise missing_image(field, job.request.endpoint)
            reads = [self._read(job, field, size) for field in fields]
            return InputImages.of(dict(zip(fields, await _gather(reads), strict=True)))

    async def encode(self, request: GenerationRequest, generated: GenerationResult) -> list[bytes]:
        """Return the generated images in the format of the request, in the same order."""
        encodings = [
            partial(encode_image, image, request.output_format, request.output_quality)
            for image in generated.images
        ]
        return await asyncio.gather(
            *(run_in_thread(self._encode_threads, encode) for encode in encodings)
        )

    async def upload(self, job: JobRecord, images: list[bytes]) -> tuple[str, ...]:
        """Store the encoded `images`; return their object keys, in the same order.

        This may take as long as an outage of the object store. Only the store then refers to the
        images, which may have to leave the memory: the list is emptied.

        Raises:
            StorageOutageError: the store was unavailable for too long.
            StorageUnavailableError: the store does not accept an image.
        """
        with STAGE_SECONDS.labels(stage="upload").time():
            keys = [
                result_key(
                    job.tenant_id, job.file_prefix, job.attempt, index, job.request.output_format
                )
                for index in range(len(images))
            ]
            content_type = job.request.output_format.media_type
            await _gather([self.store.put(key, images.pop(0), content_type) for key in keys])
            return tuple(keys)

    def close(self) -> None:
        """Stop the decoders, and wait until the threads have finished their work."""
        self._decode_threads.shutdown(wait=False, cancel_futures=True)
        self._decoders.close()
        self._decode_threads.shutdown()
        self._encode_threads.shutdown()

    async def _read(self, job: JobRecord, field: str, size: Size) -> DecodedImage:
        data = await self._fetch_bytes(field, job.inputs[field])
        await self._decoder_slots.acquire(job.tenant_id)
        decoding = run_in_thread(
            self._decode_threads, partial(self._decoders.read, data, field, size)
        )
        # If the attempt is stopped, the decoder is still busy until it has finished the image.
        decoding.add_done_callback(lambda _: self._decoder_slots.release(job.tenant_id))
        return await asyncio.shield(decoding)

    async def _fetch_bytes(self, field: str, image: InputImage) -> bytes:
        if image.object_key is not None:
            return await self.store.get(image.object_key)
        try:
            return await self._guard.fetch(image.url or "")
        except InfillError as error:
            error.message = f"{field}: {error.message}"
            raise


async def _gather(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all coroutines concurrently and return their results.

    At the first error, the other coroutines are canceled and that error is raised by itself.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as group_error:
        error = group_error.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise error
