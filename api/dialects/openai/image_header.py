"""Read format, size and transparency from the header of an image file, without decoding it.

A worker decodes the image later and judges it. What a header claims here decides only the size of
the result, and whether the image can be its own mask.
"""

import struct
from dataclasses import dataclass
from io import SEEK_CUR
from typing import BinaryIO, Final

from common.domain.generation import ImageFormat

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_PNG_ALPHA_TYPES: Final = frozenset({4, 6})
# Before the pixels, a file has a few of these.
_MAX_PARTS: Final = 200
# JPEG markers of a frame header, which has the size, and of a segment that may be EXIF.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP1: Final = 0xE1
_ORIENTATION: Final = 0x0112
_FIRST_TURNED: Final = 5  # from this orientation on, width and height are exchanged
_LAST_ORIENTATION: Final = 8
_WEBP_ALPHA: Final = 0x10


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The format of an image, its size in pixels when upright, and whether it has transparency."""

    format: ImageFormat
    width: int
    height: int
    has_alpha: bool = False


def read_image_header(file: BinaryIO) -> ImageHeader | None:
    """Return the header of a PNG, JPEG or WebP file, or None if it is none or is cut off."""
    start = file.read(12)
    file.seek(0)
    try:
        if start.startswith(_PNG):
            return _read_png(file)
        if start.startswith(_JPEG):
            return _read_jpeg(file)
        if start[:4] == b"RIFF" and start[8:] == b"WEBP":
            return _read_webp(file)
    except (struct.error, IndexError):  # cut off
        pass
    return None


def _read_png(file: BinaryIO) -> ImageHeader | None:
    width, height, _depth, colour = struct.unpack(">16xIIBB", file.read(26))
    file.seek(33)  # after the header chunk
    has_alpha = colour in _PNG_ALPHA_TYPES
    for _ in range(_MAX_PARTS):
        length, kind = struct.unpack(">I4s", file.read(8))
        if has_alpha or kind == b"IDAT":
            break
        has_alpha = kind == b"tRNS"
        file.seek(length + 4, SEEK_CUR)
    return ImageHeader(ImageFormat.PNG, width, height, has_alpha)


def _read_jpeg(file: BinaryIO) -> ImageHeader | None:
    file.seek(2)
    turned = False
    for _ in range(_MAX_PARTS):
        prefix, marker, length = struct.unpack(">BBH", file.read(4))
        if prefix != 0xFF or length < 2:  # noqa: PLR2004 a marker; its length counts itself
            return None
        if marker in _FRAMES:
            height, width = struct.unpack(">xHH", file.read(5))
            size = (height, width) if turned else (width, height)
            return ImageHeader(ImageFormat.JPEG, *size)
        segment = file.read(length - 2)
        if marker == _APP1 and segment.startswith(b"Exif\0\0"):
            turned = _is_turned(segment[6:])
    return None


def _is_turned(exif: bytes) -> bool:
    """Return whether the orientation in EXIF data exchanges width and height."""
    order = "<" if exif.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}4xI", exif)
        (number,) = struct.unpack_from(f"{order}H", exif, start)
        for index in range(min(number, _MAX_PARTS)):
            tag, value = struct.unpack_from(f"{order}H6xH", exif, start + 2 + 12 * index)
            if tag == _ORIENTATION:
                return _FIRST_TURNED <= int(value) <= _LAST_ORIENTATION
    except struct.error:  # broken EXIF data are ignored, as in a worker
        pass
    return False


def _read_webp(file: BinaryIO) -> ImageHeader | None:
    data = file.read(30)
    if len(data) < 30:  # noqa: PLR2004 what was asked for
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return ImageHeader(ImageFormat.WEBP, width, height, bool(data[20] & _WEBP_ALPHA))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        return ImageHeader(ImageFormat.WEBP, width, height, bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader(ImageFormat.WEBP, width & 0x3FFF, height & 0x3FFF)
    return None
