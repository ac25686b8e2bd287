"""The mask that the caller means: what they sent, with the changes they asked for."""

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from common.domain.generation import GenerationRequest

_Pixels = NDArray[Any]


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
    pixels = np.asarray(mask)
    if radius < 0:
        return Image.fromarray(255 - _maximum_within(255 - pixels, -radius))
    return Image.fromarray(_maximum_within(pixels, radius))


def _maximum_within(pixels: _Pixels, radius: int) -> _Pixels:
    """Give for each pixel the greatest level within `radius` of it.

    A disc is rows of different lengths, the outermost being the shortest. So the greatest level
    along a row is kept for a length that only grows, and each length is laid over the rows that
    are as far away as it is valid for: about 4 × `radius` passes over the picture, each of which
    compares whole arrays. A window of the disc's size per pixel would be `radius` times as many.
    """
    height, width = pixels.shape
    radius = min(radius, height + width)  # farther than any two pixels are apart
    maximum = pixels.copy()
    row_maximum, row_radius = pixels, 0
    for distance in range(min(radius, height - 1), -1, -1):
        half_width = min(isqrt(radius**2 - distance**2), width - 1)
        row_maximum, row_radius = _widen(row_maximum, row_radius, half_width), half_width
        _maximum_into(maximum[distance:], row_maximum[: height - distance])
        _maximum_into(maximum[: height - distance], row_maximum[distance:])
    return maximum


def _widen(row_maximum: _Pixels, row_radius: int, half_width: int) -> _Pixels:
    """Extend `row_maximum` from a distance of `row_radius` along the row to `half_width`."""
    while row_radius < half_width:
        step = min(half_width - row_radius, max(row_radius, 1))  # a longer one would leave gaps
        longer = row_maximum.copy()
        _maximum_into(longer[:, step:], row_maximum[:, :-step])
        _maximum_into(longer[:, :-step], row_maximum[:, step:])
        row_maximum, row_radius = longer, row_radius + step
    return row_maximum


def _maximum_into(pixels: _Pixels, other: _Pixels) -> None:
    np.maximum(pixels, other, out=pixels)
