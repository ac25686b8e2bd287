"""What is done with a claimed job: fetch, generate, upload. No database here."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from common.domain.errors import InfillError
from common.domain.object_keys import result_key
from common.domain.record import InputImage, JobRecord
from common.object_store.storage import Storage
from common.outbound import Guard
from common.runtime.metrics import STAGE_SECONDS
from common.runtime.threads import run_in_thread
from worker.engine.image_sandbox.pool import DecoderPool
from worker.engine.images.encode import encode_png
from worker.engine.images.inputs import InputImages, Picture, Size, image_fields, missing_image
from worker.engine.interface import GenerationResult

T = TypeVar("T")

# Encoding releases the interpreter's lock: two threads keep up with the engine.
ENCODE_THREADS: Final = 2


class ImageTransfers:
    """Each step of several jobs at once; their threads are apart from the engine's."""

    def __init__(self, guard: Guard, storage: Storage, decoders: DecoderPool) -> None:
        self._guard = guard
        self._storage = storage
        self._decoders = decoders
        # Apart, so that a picture a decoder works at for long keeps no other job from its end.
        self._decode_threads = ThreadPoolExecutor(decoders.number, thread_name_prefix="decode")
        self._encode_threads = ThreadPoolExecutor(ENCODE_THREADS, thread_name_prefix="encode")

    def start(self) -> None:
        """Start what the first job is to find ready."""
        self._decoders.start()

    async def fetch(self, job: JobRecord) -> InputImages:
        """Get and decode the input pictures, all at once.

        Raises:
            AddressNotAllowedError, FetchRejectedError, FetchFailedError: a picture could not be
                fetched; the message begins with the field.
            InvalidImageError: the bytes are not an image we accept, or none came.
            DecodingFailedError: what decodes pictures died of one, or hung.
        """
        with STAGE_SECONDS.labels(stage="fetch").time():
            fields = image_fields(job.request.endpoint)
            size = (job.request.width, job.request.height)
            reads = [self._read(field, job.inputs.get(field), size) for field in fields]
            return InputImages.of(dict(zip(fields, await _together(reads), strict=True)))

    async def upload(self, job: JobRecord, generated: GenerationResult) -> tuple[str, ...]:
        """Store the images and give their object keys.

        Raises:
            StorageUnavailableError: the store did not take one of them.
        """
        with STAGE_SECONDS.labels(stage="upload").time():
            stores = [
                self._store(
                    result_key(job.tenant_id, job.file_prefix, job.attempt, index),
                    partial(encode_png, image),
                )
                for index, image in enumerate(generated.images)
            ]
            return tuple(await _together(stores))

    def close(self) -> None:
        """Wait for what is under way in the threads, and release them."""
        self._decode_threads.shutdown(wait=False, cancel_futures=True)
        self._decoders.close()
        self._decode_threads.shutdown()
        self._encode_threads.shutdown()

    async def _read(self, field: str, image: InputImage | None, size: Size) -> Picture:
        if image is None:
            raise missing_image(field)
        data = await self._load(field, image)
        return await run_in_thread(
            self._decode_threads, partial(self._decoders.read, data, field, size)
        )

    async def _load(self, field: str, image: InputImage) -> bytes:
        if image.object_key is not None:
            return await self._storage.get(image.object_key)
        try:
            return await self._guard.fetch(image.url or "")
        except InfillError as error:
            error.message = f"{field}: {error.message}"
            raise

    async def _store(self, key: str, encode: Callable[[], bytes]) -> str:
        await self._storage.put(key, await run_in_thread(self._encode_threads, encode))
        return key


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all; at the first trouble drop the others and raise that alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as troubles:
        trouble = troubles.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise trouble
