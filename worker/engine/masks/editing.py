"""The mask that the caller means: what they sent, with the changes they asked for."""

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from common.domain.generation import GenerationRequest

_Levels = NDArray[Any]


def edit_mask(mask: Image.Image, request: GenerationRequest) -> Image.Image:
    """Invert, grow and blur `mask`, in this order, as `request` asks; a mask unchanged is itself.

    The blur is Pillow's Gaussian, with its radius as standard deviation, by three box filters: it
    reaches three radii and no farther, and leaves what is all white or all black as it was.
    """
    if request.mask_invert:
        mask = ImageChops.invert(mask)
    mask = grow_mask(mask, request.mask_grow)
    if request.mask_blur:
        mask = mask.filter(ImageFilter.GaussianBlur(request.mask_blur))
    return mask


def grow_mask(mask: Image.Image, radius: int) -> Image.Image:
    """Widen what is white by a disc of `radius` pixels; below 0, widen what is black by it.

    Each pixel gets the greatest (or least) level whose pixel is within `radius` of it, so greys
    are carried along. Beyond the picture there is nothing: a mask that runs to a border keeps to
    it when it is narrowed.
    """
    if radius == 0:
        return mask
    levels = np.asarray(mask)
    if radius < 0:
        return Image.fromarray(255 - _greatest_within(255 - levels, -radius))
    return Image.fromarray(_greatest_within(levels, radius))


def _greatest_within(levels: _Levels, radius: int) -> _Levels:
    """Give for each pixel the greatest level within `radius` of it.

    A disc is rows of different lengths, the outermost being the shortest. So the greatest level
    along a row is kept for a length that only grows, and each length is laid over the rows that
    are as far away as it is valid for: about 4 × `radius` passes over the picture, each of which
    compares whole arrays. A window of the disc's size per pixel would be `radius` times as many.
    """
    height, width = levels.shape
    radius = min(radius, height + width)  # farther than any two pixels are apart
    greatest = levels.copy()
    along, reach = levels, 0
    for distance in range(min(radius, height - 1), -1, -1):
        half = min(isqrt(radius**2 - distance**2), width - 1)
        along, reach = _longer(along, reach, half), half
        _raise_to(greatest[distance:], along[: height - distance])
        _raise_to(greatest[: height - distance], along[distance:])
    return greatest


def _longer(along: _Levels, reach: int, half: int) -> _Levels:
    """Make `along`, the greatest level within `reach` in the row, that within `half`."""
    while reach < half:
        step = min(half - reach, max(reach, 1))  # a longer one would leave gaps
        longer = along.copy()
        _raise_to(longer[:, step:], along[:, :-step])
        _raise_to(longer[:, :-step], along[:, step:])
        along, reach = longer, reach + step
    return along


def _raise_to(levels: _Levels, least: _Levels) -> None:
    np.maximum(levels, least, out=levels)
