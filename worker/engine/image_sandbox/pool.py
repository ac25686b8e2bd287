"""The decoders of a worker: as many as decode at once, each replaced when it is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import LifoQueue
from threading import Lock
from typing import Final

from PIL import Image

from common.domain.errors import DecodingFailedError
from worker.engine.image_sandbox.decoder import PROGRAM, Bounds, Decoder
from worker.engine.images.inputs import Size

# As many as keep one engine fed.
NUMBER: Final = 2


class DecoderPool:
    """Lends each picture a decoder; safe to call from several threads."""

    def __init__(
        self, number: int = NUMBER, bounds: Bounds | None = None, program: str = PROGRAM
    ) -> None:
        """Start none yet; `program` is a module to run in place of the usual one."""
        self._bounds = bounds or Bounds()
        self._program = program
        self.number = number
        self._closed = False
        self._lock = Lock()
        self._running: set[Decoder] = set()
        # The last one used is the next one lent: its memory is warm.
        self._places: LifoQueue[Decoder | None] = LifoQueue()
        for _ in range(number):
            self._places.put(None)

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        with self._lock:
            return [decoder.pid for decoder in self._running if decoder.is_alive]

    def start(self) -> None:
        """Start those that do not run, so that the first pictures find them ready."""
        for place in [self._places.get() for _ in range(self.number)]:
            self._places.put(self._living(place))

    def read(self, data: bytes, field: str, size: Size) -> Image.Image:
        """Wait for a decoder and let it do what `read_picture` does.

        Raises:
            InvalidImageError: names the field, what is wrong and what would be taken.
            DecodingFailedError: the decoder died or hung; the next picture gets another.
        """
        with self._lent() as decoder:
            return decoder.read(data, field, size)

    def close(self) -> None:
        """End all of them; pictures under way fail, and no more are taken."""
        with self._lock:
            self._closed = True
            for decoder in self._running:
                decoder.kill()
        for place in [self._places.get() for _ in range(self.number)]:
            if place is not None:
                place.close()
            self._places.put(None)

    @contextmanager
    def _lent(self) -> Iterator[Decoder]:
        decoder = self._places.get()
        try:
            decoder = self._living(decoder)
            yield decoder
        finally:
            self._places.put(decoder)

    def _living(self, decoder: Decoder | None) -> Decoder:
        with self._lock:
            if self._closed:
                raise DecodingFailedError("the worker is leaving")
            if decoder is not None and decoder.is_alive:
                return decoder
            if decoder is not None:
                self._running.discard(decoder)
                decoder.close()
            decoder = Decoder(self._bounds, self._program)
            self._running.add(decoder)
            return decoder
