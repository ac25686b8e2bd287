"""Tells which shape a bitmap shows by its contour: how far out it reaches in each direction.

No learning: the profile of the bitmap is compared with those of the world's outlines, turned a
little each way.
"""

from functools import cache
from math import pi
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from worker.training.scenes.shapes import SHAPES, UNSAFE, Place, cover

Bitmap = npt.NDArray[np.bool_]  # height × width
Profile = npt.NDArray[np.float64]  # one distance for each direction

DIRECTIONS: Final = 60
_TURNS: Final = 3  # a template is tried this many directions turned to each side
_TEMPLATE_SIZE: Final = 128
_VIEW: Final = 72  # pixels of the longer side of what is looked at
# A skull differs from other round things by its eyes: so much of its hull is not its own.
_EYES: Final = 0.045
_SPECK: Final = 30  # pixels


def shape_of(bitmap: Bitmap) -> str | None:
    """Name the shape of the largest connected part of `bitmap`, None if that is but a speck."""
    part = largest_part(_seen_close(bitmap))
    if part is None or part.sum() < _SPECK:
        return None
    outer = filled(part)
    hollow = 1 - part.sum() / outer.sum()
    candidates = (UNSAFE,) if hollow > _EYES else tuple(s for s in SHAPES if s != UNSAFE)
    if len(candidates) == 1:
        return UNSAFE
    profile = profile_of(outer)
    return min(candidates, key=lambda shape: _distance(profile, _template(shape)))


def _seen_close(bitmap: Bitmap) -> Bitmap:
    """Cut out what there is and bring it to one size: all after this costs time by the pixel."""
    rows, columns = np.nonzero(bitmap.any(axis=1))[0], np.nonzero(bitmap.any(axis=0))[0]
    if not rows.size:
        return bitmap
    cut = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _VIEW / max(cut.shape)
    size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    resized = Image.fromarray(cut.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    seen: Bitmap = np.asarray(resized) > 127
    return seen


def largest_part(bitmap: Bitmap) -> Bitmap | None:
    """Give the largest part whose pixels touch side by side, None if there is none."""
    left = bitmap.copy()
    best: Bitmap | None = None
    while left.any():
        y, x = np.unravel_index(int(left.argmax()), left.shape)
        part = _part_at(left, int(x), int(y))
        left &= ~part
        if best is None or part.sum() > best.sum():
            best = part
    return best


def _part_at(bitmap: Bitmap, x: int, y: int) -> Bitmap:
    # Numpy's bytes are copied: Pillow fills a picture in place.
    picture = Image.fromarray(np.where(bitmap, np.uint8(255), np.uint8(0))).copy()
    ImageDraw.floodfill(picture, (x, y), 128)
    part: Bitmap = np.asarray(picture) == 128
    return part


def filled(part: Bitmap) -> Bitmap:
    """Fill what `part` surrounds."""
    framed = Image.fromarray(np.pad(part, 1).astype(np.uint8) * 255).copy()
    ImageDraw.floodfill(framed, (0, 0), 128)
    outer: Bitmap = np.asarray(framed)[1:-1, 1:-1] != 128
    return outer


def profile_of(outer: Bitmap) -> Profile:
    """Give how far `outer` reaches from its middle in each direction, in parts of the mean."""
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
    return profile_of(filled(_seen_close(bitmap)))


def _distance(profile: Profile, template: Profile) -> float:
    turned = (np.roll(template, turn) for turn in range(-_TURNS, _TURNS + 1))
    return min(float(np.abs(profile - each).mean()) for each in turned)
