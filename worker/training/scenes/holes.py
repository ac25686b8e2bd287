"""Random holes (inpainting masks) around a shape; their outlines do not reveal the shape inside."""

from typing import Final

import numpy as np
import numpy.typing as npt

from worker.training.scenes.shapes import Place
from worker.training.scenes.world import Random, one_of

Mask = npt.NDArray[np.bool_]  # height × width, true where the image is to be repainted

KINDS: Final = ("box", "ellipse", "blob")
# The range of margins around a shape, in shares of its radius. A snug hole leaves little doubt
# about the size of the thing, and so about its edges.
SNUG: Final = (0.08, 0.2)
ROOMY: Final = (0.12, 0.5)


def hole_around(
    rng: Random,
    place: Place,
    size: int,
    margin: tuple[float, float] = SNUG,
    kind: str | None = None,
) -> Mask:
    """Return a `size` × `size` mask of a hole around a shape at `place`, with a random margin.

    `margin` is the range from which the margin is drawn, in units of the shape's radius. `kind` is
    one of `KINDS`; None means a random kind.
    """
    half_width, half_height = place.radius * (1 + rng.uniform(*margin, 2))
    ticks = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid((ticks - place.x) / half_width, (ticks - place.y) / half_height)
    kind = kind or one_of(rng, KINDS)
    if kind == "box":
        way = np.maximum(np.abs(x), np.abs(y))
    elif kind == "ellipse":
        way = np.hypot(x, y)
    else:
        way = np.hypot(x, y) / _waves(rng, np.arctan2(y, x))
    hole: Mask = way < 1
    return hole


def _waves(rng: Random, angles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the radius of a blob's wavy edge at each of `angles` (radians).

    The radius is relative to an ellipse; it is at least 1, so the blob contains the ellipse.
    """
    edge = np.full_like(angles, 1.12)
    for count in (2, 3, 5):
        edge += rng.uniform(0, 0.04) * np.cos(count * angles + rng.uniform(0, 2 * np.pi))
    return edge


def anywhere(rng: Random) -> Place:
    """Return a random position and radius for a hole, independent of what the image shows."""
    radius = float(rng.uniform(0.15, 0.32))
    x, y = rng.uniform(radius, 1 - radius, 2)
    return Place(float(x), float(y), radius)
