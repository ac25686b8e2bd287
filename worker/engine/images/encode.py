"""Encode generated images as PNG, JPEG or WebP, and previews as JPEG."""

import struct
import zlib
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.domain.generation import ImageFormat

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Header fields: bit depth, RGB, and the only compression, filter method and (no) interlacing.
_HEADER_TAIL: Final = (8, 2, 0, 0, 0)
_CHANNELS: Final = 3
# Filter type of every row, "Average": each byte minus the mean of the bytes to its left and above
# (PNG specification, section 9).
_AVERAGE: Final = 3

# Sent a few times a second for each running job: 1 to 3 kB each, up to 6 kB for the noise of the
# first steps.
LONGEST_SIDE: Final = 96
_QUALITY: Final = 70


def encode_image(image: Image.Image, image_format: ImageFormat, quality: int) -> bytes:
    """Return an RGB `image` as a file in `image_format`, without any metadata.

    `quality`, from 0 to 100, applies to JPEG and WebP.
    """
    if image_format is ImageFormat.PNG:
        return encode_png(image)
    buffer = BytesIO()
    image.save(buffer, image_format.upper(), quality=quality)
    return buffer.getvalue()


def encode_png(image: Image.Image) -> bytes:
    """Return an RGB `image` as PNG, without colour profile, EXIF or text chunks.

    Without these, metadata of an input image cannot leak. Pillow tries every filter on every row
    and lets zlib search for repetitions, of which generated images have few. A single filter that
    suits images, with run-length encoding as zlib's strategy, takes a third of the time and
    produces smaller files for photographs; see docs/benchmarks.md.
    """
    compressor = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    data = compressor.compress(_filter_rows(image).data) + compressor.flush()
    header = struct.pack(">II5B", image.width, image.height, *_HEADER_TAIL)
    return b"".join(
        (_SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    )


def encode_preview(image: Image.Image) -> bytes:
    """Return an RGB `image` as JPEG, scaled down to at most 96 × 96 pixels."""
    thumbnail = image.copy()
    thumbnail.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    buffer = BytesIO()
    thumbnail.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _filter_rows(image: Image.Image) -> NDArray[Any]:
    """Return the rows to compress, height × (1 + 3 · width) bytes.

    Each row is the PNG filter type followed by the filtered bytes.
    """
    height, width = image.height, image.width * _CHANNELS
    # Beyond the left and the upper border the filter assumes 0.
    bordered = np.zeros((1 + height, _CHANNELS + width), np.uint8)
    bordered[1:, _CHANNELS:] = np.asarray(image).reshape(height, width)
    left, above = bordered[1:, :-_CHANNELS], bordered[:-1, _CHANNELS:]
    mean = (left & above) + ((left ^ above) >> 1)  # rounded down, without overflow of eight bits
    rows = np.empty((height, 1 + width), np.uint8)
    rows[:, 0] = _AVERAGE
    np.subtract(bordered[1:, _CHANNELS:], mean, out=rows[:, 1:])
    return rows


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
