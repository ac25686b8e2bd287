"""The edits of a mask that a request can ask for: inverting, growing, blurring."""

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from common.domain.generation import GenerationRequest

_Pixels = NDArray[Any]


def edit_mask(mask: Image.Image, request: GenerationRequest) -> Image.Image:
    """Return `mask` inverted, grown and blurred, in this order, as specified in `request`.

    Without edits, `mask` itself is returned. The blur is Pillow's Gaussian blur (three box filters)
    with the radius as standard deviation. It reaches at most three radii and leaves uniform white
    and black areas unchanged.
    """
    if request.mask_invert:
        mask = ImageChops.invert(mask)
    mask = grow_mask(mask, request.mask_grow)
    if request.mask_blur:
        mask = mask.filter(ImageFilter.GaussianBlur(request.mask_blur))
    return mask


def grow_mask(mask: Image.Image, radius: int) -> Image.Image:
    """Return `mask` with its white area grown by a disc of `radius` pixels, shrunk if negative.

    Each pixel gets the greatest (or least) value within `radius`, so grey values are kept. Pixels
    beyond the image do not count: a white area that touches a border still touches it after
    shrinking.
    """
    if radius == 0:
        return mask
    pixels = np.asarray(mask)
    if radius < 0:
        return Image.fromarray(255 - _maximum_within(255 - pixels, -radius))
    return Image.fromarray(_maximum_within(pixels, radius))


def _maximum_within(pixels: _Pixels, radius: int) -> _Pixels:
    """Return for each pixel the greatest value within `radius` pixels: grey dilation by a disc.

    A disc consists of rows, the outermost being the shortest. The running maximum along image rows
    is extended from one row length to the next, and each is combined with the image rows at the
    distance where the disc has that length: about 4 × `radius` passes over whole arrays. Reading
    the whole disc for each pixel would take about `radius` times as many passes.
    """
    height, width = pixels.shape
    radius = min(radius, height + width)  # the largest possible distance
    maximum = pixels.copy()
    row_maximum, row_radius = pixels, 0
    for distance in range(min(radius, height - 1), -1, -1):
        half_width = min(isqrt(radius**2 - distance**2), width - 1)
        row_maximum, row_radius = _widen(row_maximum, row_radius, half_width), half_width
        _maximum_into(maximum[distance:], row_maximum[: height - distance])
        _maximum_into(maximum[: height - distance], row_maximum[distance:])
    return maximum


def _widen(row_maximum: _Pixels, row_radius: int, half_width: int) -> _Pixels:
    """Return the running maximum along rows, extended from `row_radius` to `half_width` pixels."""
    while row_radius < half_width:
        step = min(half_width - row_radius, max(row_radius, 1))  # a longer step would leave gaps
        longer = row_maximum.copy()
        _maximum_into(longer[:, step:], row_maximum[:, :-step])
        _maximum_into(longer[:, :-step], row_maximum[:, step:])
        row_maximum, row_radius = longer, row_radius + step
    return row_maximum


def _maximum_into(pixels: _Pixels, other: _Pixels) -> None:
    np.maximum(pixels, other, out=pixels)
