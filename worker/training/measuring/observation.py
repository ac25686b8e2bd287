"""Measures what stands in a hole: the world is simple enough to need no learned judge."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from worker.training.measuring.contours import Bitmap, shape_of
from worker.training.measuring.tasks import Task
from worker.training.scenes.world import COLOURS, Pixels, paint

_PALETTE: Final = np.array(list(COLOURS.values()), dtype=np.float32)
_NAMES: Final = tuple(COLOURS)
# Nearer to the background than this (each channel 0 to 255, as a distance), nothing stands there.
_APART: Final = 60.0
_LEAST: Final = 0.08  # of the hole that a thing covers
_EDGE: Final = 0.025  # of the picture's side: how far in from its edge a hole is compared
_SOFT: Final = 0.008  # of the picture's side: how near a thing its soft outline may be


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands in a hole: None where nothing does.

    `off` is how far the background just inside the hole's edge is from what it should be, 0 to 1;
    the thing's outline, which is neither, is left out.
    """

    colour: str | None
    shape: str | None
    off: float


def look(drawn: Pixels, task: Task) -> Seen:
    """Say what `drawn` shows in the hole of `task`, whose empty background is known."""
    empty = paint(task.scene.without_thing(), len(drawn))
    differs = (np.linalg.norm(drawn - empty, axis=2) > _APART) & task.hole
    stands = differs.sum() >= _LEAST * task.hole.sum()
    colour = nearest_colour(np.median(drawn[differs], axis=0)) if stands else None
    thing = differs & (colours_of(drawn) == _NAMES.index(colour)) if colour else differs
    return Seen(
        colour=colour,
        shape=shape_of(thing) if colour else None,
        off=_off(drawn, empty, task.hole, thing),
    )


def nearest_colour(colour: npt.NDArray[np.float32]) -> str:
    """Name the colour of the world nearest to `colour`."""
    return _NAMES[int(np.linalg.norm(_PALETTE - colour, axis=1).argmin())]


def colours_of(drawn: Pixels) -> npt.NDArray[np.int64]:
    """Give for each pixel which colour of the world it is nearest to."""
    apart = np.linalg.norm(drawn[:, :, None] - _PALETTE, axis=3)
    nearest: npt.NDArray[np.int64] = apart.argmin(axis=2)
    return nearest


def share_of_colour(drawn: Pixels, colour: str, hole: Bitmap) -> float:
    """Give which part of the hole is of `colour`."""
    return float((colours_of(drawn) == _NAMES.index(colour))[hole].mean())


def _off(drawn: Pixels, empty: Pixels, hole: Bitmap, thing: Bitmap) -> float:
    behind = _shrunk(~thing, max(1, round(_SOFT * len(hole))))
    band = hole & ~_shrunk(hole, max(1, round(_EDGE * len(hole)))) & behind
    if not band.any():
        return 0.0
    return float(np.abs(drawn - empty)[band].mean() / 255)


def _shrunk(bitmap: Bitmap, by: int) -> Bitmap:
    """Take `by` pixels off its edge, along rows and columns."""
    kept = np.pad(bitmap, by, constant_values=False)
    rows = np.all([np.roll(kept, shift, 0) for shift in range(-by, by + 1)], axis=0)
    both: Bitmap = np.all([np.roll(rows, shift, 1) for shift in range(-by, by + 1)], axis=0)
    return both[by:-by, by:-by]
