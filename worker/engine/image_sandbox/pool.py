"""The pool of a worker's decoder processes; processes that died are replaced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import LifoQueue
from threading import Lock
from typing import Final

import structlog
from PIL import Image

from common.domain.errors import DecodingFailedError
from common.runtime.metrics import DECODERS_LOST
from worker.engine.image_sandbox.decoder import PROGRAM, Decoder, DecoderLimits
from worker.engine.images.inputs import Size

# Two decoders keep one engine busy. The worker lets a tenant use half of the pool, so that others
# find a free decoder; more decoders than cores would delay each other.
MAX_POOL_SIZE: Final = 4
MIN_POOL_SIZE: Final = 2
POOL_SIZE: Final = min(max(len(os.sched_getaffinity(0)), MIN_POOL_SIZE), MAX_POOL_SIZE)

log = structlog.get_logger(__name__)


class DecoderPool:
    """Pool that lends a decoder process to each image; thread-safe."""

    def __init__(
        self, number: int = POOL_SIZE, limits: DecoderLimits | None = None, program: str = PROGRAM
    ) -> None:
        """Create a pool of `number` processes without starting them.

        Each process runs the Python module `program`.
        """
        self._limits = limits or DecoderLimits()
        self._program = program
        self.number = number
        self._closed = False
        self._lock = Lock()
        self._running: set[Decoder] = set()
        # Last in, first out: the decoder used last has warm memory.
        self._slots: LifoQueue[Decoder | None] = LifoQueue()
        for _ in range(number):
            self._slots.put(None)

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the running decoders."""
        with self._lock:
            return [decoder.pid for decoder in self._running if decoder.is_alive]

    def start(self) -> None:
        """Start all processes that are not running, so that the first images can use them."""
        for slot in [self._slots.get() for _ in range(self.number)]:
            self._slots.put(self._ensure_alive(slot))

    def read(self, data: bytes, field: str, size: Size) -> Image.Image:
        """Wait for a free decoder and return the image in `data`, decoded by `read_image` in it.

        Raises:
            InvalidImageError: the image is rejected; the message names the field and the reason.
            DecodingFailedError: the decoder died or timed out (the next image gets a new one), or
                the pool is closed.
        """
        with self._borrow() as decoder:
            return decoder.read(data, field, size)

    def close(self) -> None:
        """Kill all processes: images in progress fail, and later calls of `read` are rejected."""
        with self._lock:
            self._closed = True
            for decoder in self._running:
                decoder.kill()
        for slot in [self._slots.get() for _ in range(self.number)]:
            if slot is not None:
                slot.close()
            self._slots.put(None)

    @contextmanager
    def _borrow(self) -> Iterator[Decoder]:
        decoder = self._slots.get()
        try:
            decoder = self._ensure_alive(decoder)
            yield decoder
        finally:
            self._slots.put(decoder)

    def _discard(self, decoder: Decoder) -> None:
        """Forget a dead decoder, and count it if it did not die of an image."""
        self._running.discard(decoder)
        if not decoder.is_closed:
            DECODERS_LOST.labels(reason="idle").inc()
            log.warning("decoder_lost", reason="idle", exit_status=decoder.close())

    def _ensure_alive(self, decoder: Decoder | None) -> Decoder:
        with self._lock:
            if self._closed:
                raise DecodingFailedError("the image was not decoded: the worker is shutting down")
            if decoder is not None and decoder.is_alive:
                return decoder
            if decoder is not None:
                self._discard(decoder)
            decoder = Decoder(self._limits, self._program)
            self._running.add(decoder)
            return decoder
