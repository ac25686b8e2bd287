"""The size of the images to generate, from the parameter `size`, the image and the plan."""

import math
from typing import Final

from api.dialects.openai.errors import InvalidParameterError
from api.dialects.openai.image_header import ImageHeader
from common.domain.limits import Limits
from common.settings.catalogue import ModelEntry

Size = tuple[int, int]

STEP: Final = 8
MIN_SIDE: Final = 64
# The longest side and the most pixels of the sizes that the OpenAI API has had.
MAX_SIDE: Final = 1792
MAX_PIXELS: Final = 1792 * 1024
# What `auto` chooses at most, since models are trained for it.
MAX_AUTO_PIXELS: Final = 1024 * 1024
_DEFAULT: Final[Size] = (512, 512)
_RULE: Final = (
    f"Invalid value for 'size': it must be auto or WIDTHxHEIGHT, both multiples of {STEP} from "
    f"{MIN_SIDE} to {MAX_SIDE}, together at most {MAX_PIXELS} pixels."
)


def choose_size(size: str, header: ImageHeader | None, model: ModelEntry, limits: Limits) -> Size:
    """Return width and height in pixels.

    `auto` is the size of the image, reduced to what is allowed, or without an image the first of
    the model's shapes.

    Raises:
        InvalidParameterError: the size cannot be generated, or the plan does not allow it.
    """
    if size == "auto":
        shape = model.shapes[0][:2] if model.shapes else _DEFAULT
        wanted = shape if header is None else (header.width, header.height)
        return _fit(wanted, min(MAX_AUTO_PIXELS, limits.max_pixels or MAX_AUTO_PIXELS))
    width, height = (int(side) for side in size.split("x"))
    if any(side % STEP or not MIN_SIDE <= side <= MAX_SIDE for side in (width, height)) or (
        width * height > MAX_PIXELS
    ):
        raise InvalidParameterError("size", _RULE)
    if limits.max_pixels is not None and width * height > limits.max_pixels:
        raise InvalidParameterError(
            "size",
            f"Your plan allows at most {limits.max_pixels} pixels (width × height); {size} is "
            f"{width * height}.",
        )
    return width, height


def _fit(size: Size, max_pixels: int) -> Size:
    """Return `size` in the same proportions, in steps, within the limits of sides and pixels."""
    width, height = size
    scale = min(1.0, math.sqrt(max_pixels / (width * height)), MAX_SIDE / max(width, height))
    sides = [max(MIN_SIDE, round(side * scale / STEP) * STEP) for side in size]
    while sides[0] * sides[1] > max_pixels and max(sides) > MIN_SIDE:
        sides[sides.index(max(sides))] -= STEP
    return sides[0], sides[1]
