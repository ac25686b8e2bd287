"""The worker's handle for a decoder process: starts it, sends it images, detects its failure."""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from PIL import Image

from common.domain.errors import DecodingFailedError, InfillError, InvalidImageError
from common.runtime.metrics import DECODERS_LOST
from worker.engine.image_sandbox.wire import Connection, DecodeRequest
from worker.engine.images.inputs import MODES, Size

PROGRAM: Final = "worker.engine.image_sandbox.process"
# An image of up to this size is sent at once, without either side waiting for the other.
SOCKET_BYTES: Final = 1 << 20
# Time for an interpreter's shutdown after it closed the socket.
EXIT_SECONDS: Final = 1.0

# The whole environment of a decoder: nothing of the worker's, which contains credentials.
_ENVIRONMENT: Final = {
    "PYTHONPATH": str(Path(__file__).parents[3]),
    # Memory of small images is reused for the next: returning pages to the kernel costs CPU time.
    "MALLOC_MMAP_THRESHOLD_": str(8 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 20),
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """Limits for decoding one image.

    The largest accepted images, of 25 megapixels, were measured to need up to 504 MB and 1.6 s. If
    a decoder exceeds `cpu_seconds`, the image is rejected as invalid. If it exceeds
    `timeout_seconds` of wall-clock time, the image is not blamed, because the machine may have been
    busy with something else.
    """

    memory_bytes: int = 700_000_000
    cpu_seconds: int = 10
    timeout_seconds: float = 60.0


class Decoder:
    """A sandboxed process that decodes images one after another, until an image crashes it."""

    def __init__(self, limits: DecoderLimits, program: str = PROGRAM) -> None:
        """Start the module `program` as a process, without waiting until it is ready."""
        self.is_closed = False
        self._limits = limits
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            descriptor = theirs.fileno()
            numbers = (descriptor, limits.memory_bytes, limits.cpu_seconds)
            # Not a fork: the worker may have a GPU open, and a child would share all of its
            # memory.
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                # -P: nothing is imported from the folder the worker was started in.
                [sys.executable, "-P", "-m", program, *map(str, numbers)],
                env=_ENVIRONMENT,
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._connection = Connection(ours)

    @property
    def pid(self) -> int:
        """Return the process id of the decoder."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def read(self, data: bytes, field: str, size: Size) -> Image.Image:
        """Return the image in `data`, decoded by `read_image` in the process.

        The image has the given `size` and the mode of its `field` (see `MODES`). The process is
        killed if it exceeds a limit.

        Raises:
            InvalidImageError: the image is rejected; the message names the field and the reason.
            DecodingFailedError: the process died, or did not respond in time.
        """
        mode = MODES[field]
        length = size[0] * size[1] * len(mode)
        self._connection.set_deadline(self._limits.timeout_seconds)
        try:
            self._connection.send(DecodeRequest(field, *size).head, data)
            head, pixels = self._connection.receive(length)
            if "error" in head:
                raise InvalidImageError(str(head["error"]), detail=str(head.get("detail", "")))
            return Image.frombytes(mode, size, pixels)
        except (OSError, EOFError, ValueError) as error:
            raise self._lost(field, error) from error

    def kill(self) -> None:
        """Kill the process; a `read` in progress in another thread raises an error."""
        self._process.kill()

    def close(self) -> int:
        """Kill the process, release its resources, and return its exit status.

        Must not be called during a `read`.
        """
        self.is_closed = True
        self.kill()
        self._connection.close()
        return self._process.wait()

    def _lost(self, field: str, error: Exception) -> InfillError:
        """Close the failed decoder and return the error for the image it was decoding."""
        if isinstance(error, EOFError | ConnectionError):  # the exit status will show the reason
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)
        status = self.close()
        lost: InfillError
        if status == -signal.SIGXCPU:
            reason, seconds = "cpu", self._limits.cpu_seconds
            lost = InvalidImageError(f"{field}: the image takes more than {seconds} s to decode")
        elif isinstance(error, TimeoutError):
            reason, timeout = "hung", self._limits.timeout_seconds
            lost = DecodingFailedError(f"{field}: the image was not decoded within {timeout:g} s")
        else:
            reason = "crashed"
            lost = DecodingFailedError(
                f"{field}: the process that decodes images crashed on this image; "
                "the file may be damaged",
                detail=f"exit status {status}: {error!r}",
            )
        DECODERS_LOST.labels(reason=reason).inc()
        log.warning("decoder_lost", reason=reason, exit_status=status)
        return lost
