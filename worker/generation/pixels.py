"""The pictures that go in: from the caller's bytes to the request's size."""

from dataclasses import dataclass
from typing import Final

from PIL import Image

from common.domain.errors import InvalidImageError
from common.domain.generation import Endpoint, GenerationRequest
from worker.generation.decode import MAX_BYTES, decode_image, decode_mask

# A mask saved as JPEG is never quite black nor quite white. The nearest levels count as such,
# so that kept pixels are kept exactly.
_NEARLY: Final = 16
_LEVELS: Final = [
    0 if level < _NEARLY else 255 if level > 255 - _NEARLY else level for level in range(256)
]


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a request works on, each width × height of the request: init RGB, mask L."""

    init: Image.Image | None = None
    mask: Image.Image | None = None


def read_pixels(
    request: GenerationRequest,
    *,
    init_image: bytes | None = None,
    mask_image: bytes | None = None,
    max_bytes: int = MAX_BYTES,
) -> Pixels:
    """Decode what the request's endpoint works on, stretched to its width and height.

    Needs no engine and no lock: it may run while another request generates.

    Raises:
        InvalidImageError: a needed picture is missing, or its bytes cannot be used.
    """
    size = (request.width, request.height)
    init = mask = None
    if request.endpoint is not Endpoint.TEXT2IMG:
        init = decode_image(_given(init_image, "init_image"), "init_image", max_bytes=max_bytes)
        init = init.resize(size, Image.Resampling.LANCZOS)
    if request.endpoint is Endpoint.INPAINT:
        mask = decode_mask(_given(mask_image, "mask_image"), "mask_image", max_bytes=max_bytes)
        mask = mask.resize(size, Image.Resampling.BILINEAR).point(_LEVELS)
    return Pixels(init, mask)


def _given(data: bytes | None, field: str) -> bytes:
    if data is None:
        raise InvalidImageError(f"{field}: an image is needed")
    return data
