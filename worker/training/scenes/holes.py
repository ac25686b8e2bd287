"""Masks: a hole around a place, of several kinds, none of which gives the shape away."""

from typing import Final

import numpy as np
import numpy.typing as npt

from worker.training.scenes.shapes import Place
from worker.training.scenes.world import Random, one_of

Mask = npt.NDArray[np.bool_]  # height × width, true where the picture is to be painted anew

KINDS: Final = ("box", "ellipse", "blob")
# The room around a shape, in parts of its radius, from and to. In a snug hole there is little doubt
# about how large the thing is to be, and so about where its edges are.
SNUG: Final = (0.08, 0.2)
ROOMY: Final = (0.12, 0.5)


def hole_around(
    draw: Random,
    place: Place,
    size: int,
    room: tuple[float, float] = SNUG,
    kind: str | None = None,
) -> Mask:
    """Cut a hole, `size` × `size` pixels, that holds a shape at `place` with some `room`."""
    half_width, half_height = place.radius * (1 + draw.uniform(*room, 2))
    ticks = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid((ticks - place.x) / half_width, (ticks - place.y) / half_height)
    kind = kind or one_of(draw, KINDS)
    if kind == "box":
        way = np.maximum(np.abs(x), np.abs(y))
    elif kind == "ellipse":
        way = np.hypot(x, y)
    else:
        way = np.hypot(x, y) / _waves(draw, np.arctan2(y, x))
    hole: Mask = way < 1
    return hole


def _waves(draw: Random, angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give an edge that goes in and out, never nearer than the ellipse inside it."""
    edge = np.full_like(angles, 1.12)
    for count in (2, 3, 5):
        edge += draw.uniform(0, 0.04) * np.cos(count * angles + draw.uniform(0, 2 * np.pi))
    return edge


def anywhere(draw: Random) -> Place:
    """Give a place for a hole that has nothing to do with what the picture shows."""
    radius = float(draw.uniform(0.15, 0.32))
    x, y = draw.uniform(radius, 1 - radius, 2)
    return Place(float(x), float(y), radius)
