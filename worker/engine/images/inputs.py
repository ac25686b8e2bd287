"""Input images of a request: decoded and resized to the request's size."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from PIL import Image

from common.domain.errors import InvalidImageError
from common.domain.generation import Endpoint
from worker.engine.images.decode import (
    MAX_BYTES,
    decode_alpha_mask,
    decode_image,
    decode_mask,
    decode_own_mask,
)

# For modules that pass images on without importing Pillow.
DecodedImage = Image.Image
# Width and height, in pixels.
Size = tuple[int, int]

INIT_IMAGE: Final = "init_image"
# Three kinds of mask, of which an inpainting job has one: a mask that is read by its brightness, a
# mask whose transparent parts are repainted, and the initial image as its own mask.
MASK_IMAGE: Final = "mask_image"
ALPHA_MASK: Final = "alpha_mask"
OWN_MASK: Final = "own_mask"

# The mode of the image that `read_image` returns, by field.
MODES: Final = {INIT_IMAGE: "RGB", MASK_IMAGE: "L", ALPHA_MASK: "L", OWN_MASK: "L"}

_MASKS: Final = {
    MASK_IMAGE: decode_mask,
    ALPHA_MASK: decode_alpha_mask,
    OWN_MASK: decode_own_mask,
}

# A mask saved as JPEG is never exactly black or white. Values this near are set to it, so that
# kept pixels stay unchanged.
_SNAP_DISTANCE: Final = 16
_SNAPPED: Final = [
    0 if level < _SNAP_DISTANCE else 255 if level > 255 - _SNAP_DISTANCE else level
    for level in range(256)
]


@dataclass(frozen=True, slots=True)
class InputImages:
    """Input images of a request, both of the request's width × height: `init` RGB, `mask` grey.

    A field is None if the endpoint does not take that image.
    """

    init: Image.Image | None = None
    mask: Image.Image | None = None

    @classmethod
    def of(cls, images: Mapping[str, DecodedImage]) -> Self:
        """Return the input images from a mapping of field names to decoded images."""
        return cls(images.get(INIT_IMAGE), images.get(mask_field(images)))


def mask_field(fields: Collection[str]) -> str:
    """Return which of the kinds of mask is among `fields`; `mask_image` if none is."""
    return next((field for field in _MASKS if field in fields), MASK_IMAGE)


def image_fields(endpoint: Endpoint, mask: str = MASK_IMAGE) -> tuple[str, ...]:
    """Return the field names of the input images that `endpoint` takes; `mask` is its mask's."""
    if endpoint is Endpoint.TEXT2IMG:
        return ()
    return (INIT_IMAGE, mask) if endpoint is Endpoint.INPAINT else (INIT_IMAGE,)


def read_image(data: bytes, field: str, size: Size, *, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Decode the image file `data`; return the image resized to `size`, in the mode `MODES[field]`.

    Call this on untrusted bytes only in a sandboxed process; see `worker.engine.image_sandbox`.

    Raises:
        InvalidImageError: the image is rejected; the message names the field and the reason.
    """
    if field in _MASKS:
        mask = _MASKS[field](data, field, max_bytes=max_bytes)
        return _resize(mask, size, Image.Resampling.BILINEAR).point(_SNAPPED)
    init = decode_image(data, field, max_bytes=max_bytes)
    return _resize(init, size, Image.Resampling.LANCZOS)


def missing_image(field: str, endpoint: Endpoint) -> InvalidImageError:
    """Return the error for a missing input image that the endpoint requires."""
    return InvalidImageError(f"{field}: {endpoint} requires this image, but none was sent")


def _resize(image: Image.Image, size: Size, resampling: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, resampling)
