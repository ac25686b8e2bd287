"""Recognize a shape in a bitmap by the radius of its contour in each direction.

Machine learning is not used: the radial profile of the contour, seen from its centroid, is compared
with the profiles of the known shapes, rotated by small angles.
"""

from functools import cache
from math import pi
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from worker.training.scenes.shapes import SHAPES, UNSAFE, Place, cover

Bitmap = npt.NDArray[np.bool_]  # height × width
Profile = npt.NDArray[np.float64]  # one radius for each direction

DIRECTIONS: Final = 60
_TURNS: Final = 3  # a template is rotated by up to this many directions to each side
_TEMPLATE_SIZE: Final = 128
_VIEW: Final = 72  # pixels of the longer side of the scaled shape
# A skull is told from other round shapes by its eyes: the least share of its hull that is hollow.
_EYE_SHARE: Final = 0.045
_MIN_PIXELS: Final = 30  # pixels


def shape_of(bitmap: Bitmap) -> str | None:
    """Return the name of the shape that the largest connected component of `bitmap` resembles most.

    Return None if the component has fewer than 30 pixels after scaling. A component with hollows
    (eyes) is a skull; any other is compared with the known outlines by its radial profile.
    """
    component = largest_component(_crop_and_scale(bitmap))
    if component is None or component.sum() < _MIN_PIXELS:
        return None
    outer = fill_holes(component)
    hollow = 1 - component.sum() / outer.sum()
    candidates = (UNSAFE,) if hollow > _EYE_SHARE else tuple(s for s in SHAPES if s != UNSAFE)
    if len(candidates) == 1:
        return UNSAFE
    profile = radial_profile(outer)
    return min(candidates, key=lambda shape: _distance(profile, _template(shape)))


def _crop_and_scale(bitmap: Bitmap) -> Bitmap:
    """Return `bitmap` cropped to its set pixels, with the longer side scaled to 72 pixels.

    The fixed size bounds the cost of the later steps, which grows with the number of pixels. A
    bitmap without set pixels is returned unchanged.
    """
    rows, columns = np.nonzero(bitmap.any(axis=1))[0], np.nonzero(bitmap.any(axis=0))[0]
    if not rows.size:
        return bitmap
    cut = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _VIEW / max(cut.shape)
    size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    resized = Image.fromarray(cut.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    scaled: Bitmap = np.asarray(resized) > 127
    return scaled


def largest_component(bitmap: Bitmap) -> Bitmap | None:
    """Return the largest 4-connected component of `bitmap` as a bitmap of the same size.

    Return None if no pixel is set.
    """
    remaining = bitmap.copy()
    best: Bitmap | None = None
    while remaining.any():
        y, x = np.unravel_index(int(remaining.argmax()), remaining.shape)
        component = _component_at(remaining, int(x), int(y))
        remaining &= ~component
        if best is None or component.sum() > best.sum():
            best = component
    return best


def _component_at(bitmap: Bitmap, x: int, y: int) -> Bitmap:
    # Copied, because Pillow's flood fill works in place.
    image = Image.fromarray(np.where(bitmap, np.uint8(255), np.uint8(0))).copy()
    ImageDraw.floodfill(image, (x, y), 128)
    component: Bitmap = np.asarray(image) == 128
    return component


def fill_holes(component: Bitmap) -> Bitmap:
    """Return `component` with all pixels that it encloses set as well."""
    framed = Image.fromarray(np.pad(component, 1).astype(np.uint8) * 255).copy()
    ImageDraw.floodfill(framed, (0, 0), 128)
    outer: Bitmap = np.asarray(framed)[1:-1, 1:-1] != 128
    return outer


def radial_profile(outer: Bitmap) -> Profile:
    """Return the radius of the shape `outer` in each of 60 directions from its centroid.

    Radii are divided by their mean, so the profile does not depend on the size of the shape.
    """
    y, x = np.nonzero(outer)
    y, x = y - y.mean(), x - x.mean()
    direction = ((np.arctan2(y, x) / (2 * pi) * DIRECTIONS).round().astype(int)) % DIRECTIONS
    reach = np.zeros(DIRECTIONS)
    np.maximum.at(reach, direction, np.hypot(x, y) + 0.5)
    profile: Profile = reach / reach.mean()
    return profile


@cache
def _template(shape: str) -> Profile:
    bitmap = cover(shape, Place(0.5, 0.5, 0.4), _TEMPLATE_SIZE) > 0.5
    return radial_profile(fill_holes(_crop_and_scale(bitmap)))


def _distance(profile: Profile, template: Profile) -> float:
    turned = (np.roll(template, turn) for turn in range(-_TURNS, _TURNS + 1))
    return min(float(np.abs(profile - each).mean()) for each in turned)
