"""The pictures that go in: from the caller's bytes to the request's size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from PIL import Image

from common.domain.errors import InvalidImageError
from common.domain.generation import Endpoint
from worker.engine.images.decode import MAX_BYTES, decode_image, decode_mask

# For those who hand pictures on and never look into them.
DecodedImage = Image.Image
# Width and height, in pixels.
Size = tuple[int, int]

INIT_IMAGE: Final = "init_image"
MASK_IMAGE: Final = "mask_image"

# The mode of what `read_image` gives, by field.
MODES: Final = {INIT_IMAGE: "RGB", MASK_IMAGE: "L"}

_FIELDS: Final = {
    Endpoint.TEXT2IMG: (),
    Endpoint.IMG2IMG: (INIT_IMAGE,),
    Endpoint.INPAINT: (INIT_IMAGE, MASK_IMAGE),
}

# A mask saved as JPEG is never quite black nor quite white. The nearest levels count as such,
# so that kept pixels are kept exactly.
_SNAP_DISTANCE: Final = 16
_SNAPPED: Final = [
    0 if level < _SNAP_DISTANCE else 255 if level > 255 - _SNAP_DISTANCE else level
    for level in range(256)
]


@dataclass(frozen=True, slots=True)
class InputImages:
    """What a request works on, each width × height of the request: init RGB, mask L."""

    init: Image.Image | None = None
    mask: Image.Image | None = None

    @classmethod
    def of(cls, images: Mapping[str, DecodedImage]) -> Self:
        """Put the pictures, given by field, in their places."""
        return cls(images.get(INIT_IMAGE), images.get(MASK_IMAGE))


def image_fields(endpoint: Endpoint) -> tuple[str, ...]:
    """Name the pictures an endpoint works on."""
    return _FIELDS[endpoint]


def read_image(data: bytes, field: str, size: Size, *, max_bytes: int = MAX_BYTES) -> Image.Image:
    """Decode what came as `field`, stretched to `size`; its mode is in `MODES`.

    For hostile bytes: it is run where it may die, see `worker.engine.image_sandbox`.

    Raises:
        InvalidImageError: names the field, what is wrong and what would be taken.
    """
    if field == MASK_IMAGE:
        mask = decode_mask(data, field, max_bytes=max_bytes)
        return _resize(mask, size, Image.Resampling.BILINEAR).point(_SNAPPED)
    init = decode_image(data, field, max_bytes=max_bytes)
    return _resize(init, size, Image.Resampling.LANCZOS)


def missing_image(field: str) -> InvalidImageError:
    """Make the error of a picture that is worked on and did not come."""
    return InvalidImageError(f"{field}: an image is needed")


def _resize(image: Image.Image, size: Size, resampling: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, resampling)
