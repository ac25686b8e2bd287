"""Decode untrusted image files, within limits.

Everything that can be checked from the bytes or the header is checked before any pixel is decoded,
because decoding is what takes memory and time.
"""

import re
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Final

from PIL import Image

from common.domain.errors import InvalidImageError
from worker.engine.images.colour import to_alpha_mask, to_mask, to_own_mask, to_rgb

MAX_BYTES: Final = 20_000_000
MAX_MEGAPIXELS: Final = 25
MAX_SIDE: Final = 8192
MAX_ASPECT: Final = 20

TOO_MUCH_MEMORY: Final = "decoding the image needs too much memory; send a smaller image"

# A progressive JPEG repaints the whole image with every scan, and a scan can be a dozen bytes:
# without a limit, a small file keeps a core busy for hours. Encoders write about ten.
MAX_SCANS: Final = 100
_SCAN: Final = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_SIGNATURE: Final = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF.{4}WEBP", re.DOTALL)
_JPEG_END: Final = b"\xff\xd9"
# Arbitrary bits in place of those that may be missing at the end of a JPEG.
_FILLERS: Final = (b"\x55" * 16, b"\x9a\x3c" * 8, b"\x13\xe7" * 8)
_ORIENTATION_TAG: Final = 0x0112
_TRANSPOSITIONS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow's warnings about a caller's file do not belong in our log, with one exception: between its
# pixel limit and twice that, Pillow only warns. Set once, here, because the context manager for
# warnings is not thread-safe.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode_image(data: bytes, field: str, *, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Return the image in `data`, upright, as 8-bit RGB in sRGB; transparent parts become white.

    Raises:
        InvalidImageError: the image is rejected; the message names `field` and the reason.
    """
    return _decode(data, field, max_bytes, to_rgb)


def decode_mask(data: bytes, field: str, *, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Return the mask in `data`, upright, as 8-bit grey (mode L).

    White is repainted; `worker.engine.images.mask_reading` describes how transparency is read.

    Raises:
        InvalidImageError: the image is rejected; the message names `field` and the reason.
    """
    return _decode(data, field, max_bytes, to_mask)


def decode_alpha_mask(data: bytes, field: str, *, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Return the mask in `data`, upright, in mode L; white where the image is transparent.

    Raises:
        InvalidImageError: the image is rejected; the message names `field` and the reason.
    """
    return _decode(data, field, max_bytes, to_alpha_mask)


def decode_own_mask(data: bytes, field: str, *, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Return the same as `decode_alpha_mask`, but all white if the image is opaque.

    Raises:
        InvalidImageError: the image is rejected; the message names `field` and the reason.
    """
    return _decode(data, field, max_bytes, to_own_mask)


def _decode(
    data: bytes, field: str, max_bytes: int, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    _check_bytes(data, field, max_bytes)
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        _check_header(image, field)
        return convert(_apply_orientation(_load(image, data)))
    except InvalidImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImageError(
            f"{field}: the image has more than {MAX_MEGAPIXELS} megapixels"
        ) from error
    except MemoryError as error:
        raise InvalidImageError(f"{field}: {TOO_MUCH_MEMORY}") from error
    except Exception as error:  # codecs raise anything on malformed bytes
        raise InvalidImageError(
            f"{field}: the image is damaged or cut off", detail=repr(error)
        ) from error


def _check_bytes(data: bytes, field: str, max_bytes: int) -> None:
    if not data:
        raise InvalidImageError(f"{field}: the file is empty")
    if len(data) > max_bytes:
        raise InvalidImageError(
            f"{field}: the file has {len(data):,} bytes; at most {max_bytes:,} are accepted"
        )
    if not _SIGNATURE.match(data):
        raise InvalidImageError(f"{field}: the file is not a PNG, JPEG or WebP image")
    if data.startswith(b"\xff\xd8") and len(_SCAN.findall(data)) > MAX_SCANS:
        raise InvalidImageError(
            f"{field}: the progressive JPEG has more than {MAX_SCANS} scans; "
            "save it as a baseline JPEG or PNG"
        )


def _check_header(image: Image.Image, field: str) -> None:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        megapixels = width * height / 1_000_000
        raise InvalidImageError(
            f"{field}: the image has {megapixels:.1f} megapixels; "
            f"at most {MAX_MEGAPIXELS} are accepted"
        )
    if max(width, height) > MAX_SIDE:
        raise InvalidImageError(
            f"{field}: the image has {width}×{height} pixels; "
            f"each side may have at most {MAX_SIDE} pixels"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidImageError(
            f"{field}: the image has {width}×{height} pixels; the long side may be at most "
            f"{MAX_ASPECT} times the short side"
        )
    # Cameras store previews beside a photograph and call the file MPO: the first image is the
    # photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise InvalidImageError(f"{field}: the image is animated; send a single frame")


def _load(image: Image.Image, data: bytes) -> Image.Image:
    """Return `image` with its pixels decoded; a JPEG may lack its end if all pixels are there.

    Raises:
        OSError: pixels are missing.
    """
    try:
        image.load()
    except OSError:
        if image.format != "JPEG":
            raise
        # Bits that were missing would be decoded from what follows: the pixels would differ.
        pixels = data.removesuffix(_JPEG_END[:1])
        ended = _open_jpeg(pixels + _JPEG_END)
        for filler in _FILLERS:
            if _open_jpeg(pixels + filler + _JPEG_END).tobytes() != ended.tobytes():
                raise
        return ended
    return image


def _open_jpeg(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data), formats=("JPEG",))
    image.load()
    return image


def _apply_orientation(image: Image.Image) -> Image.Image:
    """Return `image` turned upright by its EXIF orientation; broken EXIF data is ignored."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - the EXIF reader raises whatever the bytes lead it to
        return image
    method = _TRANSPOSITIONS.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)
