"""The protocol between worker and decoder: frames of a short JSON head and a body of raw bytes."""

import json
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final

from common.runtime.clock import monotonic

_LENGTHS: Final = struct.Struct("!II")
_MAX_HEAD: Final = 4096
MAX_BODY: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """A request to decode an image: its field in the API, and the size of the result in pixels."""

    field: str
    width: int
    height: int

    @property
    def head(self) -> dict[str, Any]:
        """Return the request as the JSON head of a frame."""
        return asdict(self)


class Connection:
    """One end of the socket pair between worker and decoder: sends and receives frames."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._deadline: float | None = None

    def set_deadline(self, seconds: float) -> None:
        """Set a deadline `seconds` from now; after it, `send` and `receive` raise TimeoutError."""
        self._deadline = monotonic() + seconds

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame with the given head and body.

        Raises:
            OSError: the other end is closed, or the deadline has passed.
        """
        encoded = json.dumps(head).encode()
        self._apply_deadline()
        self._socket.sendall(_LENGTHS.pack(len(encoded), len(body)) + encoded)
        if body:
            self._apply_deadline()
            self._socket.sendall(body)

    def receive(self, most_bytes: int) -> tuple[dict[str, Any], bytearray]:
        """Wait for one frame and return its head and body.

        Raises:
            EOFError: the other end is closed.
            OSError: the connection broke, or the deadline has passed.
            ValueError: the frame is malformed, or its body is longer than `most_bytes`.
        """
        head_length, body_length = _LENGTHS.unpack(self._read(_LENGTHS.size))
        if head_length > _MAX_HEAD or body_length > most_bytes:
            raise ValueError(f"a frame of {head_length} and {body_length} bytes")
        head = json.loads(self._read(head_length))
        if not isinstance(head, dict):
            raise ValueError("a frame without a head")  # noqa: TRY004 - one error for bad frames
        return head, self._read(body_length)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self, length: int) -> bytearray:
        buffer = bytearray(length)
        left = memoryview(buffer)
        while left:
            self._apply_deadline()
            read = self._socket.recv_into(left, 0, socket.MSG_WAITALL)
            if not read:
                raise EOFError("the other end is gone")
            left = left[read:]
        return buffer

    def _apply_deadline(self) -> None:
        if self._deadline is not None:
            left = self._deadline - monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
