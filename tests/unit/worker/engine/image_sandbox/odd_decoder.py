"""Decoder that misbehaves as the bytes after the end of the image demand."""

import ctypes
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from worker.engine.image_sandbox.process import main
from worker.engine.images.inputs import Size, read_image

NAME = __name__
DEED_BYTES = 8


def stumble() -> None:
    raise ZeroDivisionError("inner matter")


def spin() -> None:
    while True:
        pass


DEEDS: dict[bytes, Callable[[], object]] = {
    b"SEGFAULT": lambda: ctypes.string_at(0),
    b"ABORTING": os.abort,
    b"KILLED  ": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"STUMBLES": stumble,
    b"SPINNING": spin,
    b"SLEEPING": signal.pause,
    b"HOARDING": lambda: bytearray(1 << 40),
    b"OPENING ": lambda: Path("/etc/passwd").read_bytes(),
    b"CALLING ": socket.socket,
    b"FORKING ": os.fork,
}
ANOTHER = b"ANOTHER "  # sends another image than requested


def read(data: bytes, field: str, size: Size) -> Image.Image:
    deed = data[-DEED_BYTES:]
    DEEDS.get(deed, bool)()
    return Image.new("L", (1, 1)) if deed == ANOTHER else read_image(data, field, size)


if __name__ == "__main__":
    main(read)
