"""Recognize the coloured shape that a generated image shows in its inpainted hole.

The training images are simple enough to recognize colours and shapes without a neural network.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from worker.training.measuring.contours import Bitmap, shape_of
from worker.training.measuring.tasks import Task
from worker.training.scenes.world import COLOURS, Pixels, paint

_PALETTE: Final = np.array(list(COLOURS.values()), dtype=np.float32)
_NAMES: Final = tuple(COLOURS)
# A colour distance to the background (channels 0 to 255) below this counts as background.
_MIN_DISTANCE: Final = 60.0
_MIN_SHARE: Final = 0.08  # least share of the hole that a thing covers
_EDGE: Final = 0.025  # share of the image's side: width of the compared band inside the hole's edge
_SOFT: Final = 0.008  # share of the image's side: width of a thing's soft outline


@dataclass(frozen=True, slots=True)
class Observation:
    """Colour and shape recognized in the inpainted hole of an image, and the background error.

    `colour` and `shape` are names; both are None if the hole shows only background, and `shape` is
    None if the coloured area is too small to recognize. `background_error` is the mean absolute
    difference (0 to 1) between the image and the true background in a narrow band just inside the
    hole's edge, excluding the recognized shape and its soft outline.
    """

    colour: str | None
    shape: str | None
    background_error: float


def observe(image: Pixels, task: Task) -> Observation:
    """Return the colour and shape that `image` shows in the hole of `task`.

    Pixels in the hole count as part of a shape if they differ from the scene painted without its
    shape.
    """
    empty = paint(task.scene.without_thing(), len(image))
    differs = (np.linalg.norm(image - empty, axis=2) > _MIN_DISTANCE) & task.hole
    present = differs.sum() >= _MIN_SHARE * task.hole.sum()
    colour = nearest_colour(np.median(image[differs], axis=0)) if present else None
    thing = differs & (colours_of(image) == _NAMES.index(colour)) if colour else differs
    return Observation(
        colour=colour,
        shape=shape_of(thing) if colour else None,
        background_error=_background_error(image, empty, task.hole, thing),
    )


def nearest_colour(colour: npt.NDArray[np.float32]) -> str:
    """Return the name of the `COLOURS` entry nearest to `colour` (red, green, blue; 0 to 255)."""
    return _NAMES[int(np.linalg.norm(_PALETTE - colour, axis=1).argmin())]


def colours_of(image: Pixels) -> npt.NDArray[np.int64]:
    """Return for each pixel of `image` the index of its nearest `COLOURS` entry, height × width."""
    distances = np.linalg.norm(image[:, :, None] - _PALETTE, axis=3)
    nearest: npt.NDArray[np.int64] = distances.argmin(axis=2)
    return nearest


def share_of_colour(image: Pixels, colour: str, hole: Bitmap) -> float:
    """Return the fraction (0 to 1) of pixels in `hole` whose nearest named colour is `colour`."""
    return float((colours_of(image) == _NAMES.index(colour))[hole].mean())


def _background_error(image: Pixels, empty: Pixels, hole: Bitmap, thing: Bitmap) -> float:
    behind = _shrunk(~thing, max(1, round(_SOFT * len(hole))))
    band = hole & ~_shrunk(hole, max(1, round(_EDGE * len(hole)))) & behind
    if not band.any():
        return 0.0
    return float(np.abs(image - empty)[band].mean() / 255)


def _shrunk(bitmap: Bitmap, by: int) -> Bitmap:
    """Return `bitmap` eroded by `by` pixels along rows and columns.

    Pixels beyond the border count as unset.
    """
    padded = np.pad(bitmap, by, constant_values=False)
    rows = np.all([np.roll(padded, shift, 0) for shift in range(-by, by + 1)], axis=0)
    eroded: Bitmap = np.all([np.roll(rows, shift, 1) for shift in range(-by, by + 1)], axis=0)
    return eroded[by:-by, by:-by]
