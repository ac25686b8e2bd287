"""What is done with a claimed job: fetch, generate, upload. No database here."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from common.clock import utc_now
from common.domain.errors import GenerationStoppedError, InfillError
from common.domain.objects import result_key
from common.domain.record import InputImage, JobRecord
from common.metrics import STAGE_SECONDS
from common.outbound import Guard
from common.storage import Storage
from worker.generation.encode import encode_png
from worker.generation.engine import Engine, Generated
from worker.generation.pixels import Pixels, read_pixels

T = TypeVar("T")

# Decoding and encoding release the interpreter's lock: two threads keep the engine fed.
CODEC_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the engine gave, and when (unix seconds) it started and ended."""

    generated: Generated
    started_at: float
    ended_at: float


class Stages:
    """The engine has one thread of its own; everything around it overlaps other jobs."""

    def __init__(self, guard: Guard, storage: Storage, engine: Engine) -> None:
        self._guard = guard
        self._storage = storage
        self._engine = engine
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._codec_threads = ThreadPoolExecutor(CODEC_THREADS, thread_name_prefix="codec")

    async def fetch(self, job: JobRecord) -> Pixels:
        """Get and decode the input pictures, all at once.

        Raises:
            AddressNotAllowedError, FetchRejectedError, FetchFailedError: a picture could not be
                fetched; the message begins with the field.
            InvalidImageError: the bytes are not an image we accept.
        """
        with STAGE_SECONDS.labels(stage="fetch").time():
            loads = [self._load(field, image) for field, image in job.inputs.items()]
            data = dict(zip(job.inputs, await _together(loads), strict=True))
            return await _in_thread(
                self._codec_threads,
                partial(
                    read_pixels,
                    job.request,
                    init_image=data.get("init_image"),
                    mask_image=data.get("mask_image"),
                ),
            )

    async def generate(
        self, job: JobRecord, pixels: Pixels, should_stop: Callable[[], bool]
    ) -> Drawn:
        """Draw, when the engine gets to it.

        Raises:
            UnsupportedRequestError, GenerationError, GenerationStoppedError: see `Engine`.
        """
        return await _in_thread(self._engine_thread, partial(self._draw, job, pixels, should_stop))

    async def upload(self, job: JobRecord, drawn: Drawn) -> tuple[str, ...]:
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
                for index, image in enumerate(drawn.generated.images)
            ]
            return tuple(await _together(stores))

    def close(self) -> None:
        """Release the threads; nothing is under way in them any more."""
        self._engine_thread.shutdown()
        self._codec_threads.shutdown()

    async def _load(self, field: str, image: InputImage) -> bytes:
        if image.object_key is not None:
            return await self._storage.get(image.object_key)
        try:
            return await self._guard.fetch(image.url or "")
        except InfillError as error:
            error.message = f"{field}: {error.message}"
            raise

    def _draw(self, job: JobRecord, pixels: Pixels, should_stop: Callable[[], bool]) -> Drawn:
        if should_stop():  # while it waited for the engine
            raise GenerationStoppedError("told to stop before the first step")
        started_at = utc_now().timestamp()
        with STAGE_SECONDS.labels(stage="generate").time():
            generated = self._engine.generate(job.request, pixels, should_stop=should_stop)
        return Drawn(generated, started_at, utc_now().timestamp())

    async def _store(self, key: str, encode: Callable[[], bytes]) -> str:
        await self._storage.put(key, await _in_thread(self._codec_threads, encode))
        return key


async def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Run `work` in one of `threads`, its log lines bound to the same job."""
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)


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
