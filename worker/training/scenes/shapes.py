"""Outlines of the shapes in the training images, in the unit circle, and their rasterization."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Outline = npt.NDArray[np.float64]  # points × 2, y down, inside the unit circle

# Outlines are rasterized at this many times the size and averaged, for soft edges.
_OVERSAMPLING: Final = 4


def _regular(corners: int, inner: float | None = None) -> Outline:
    """Return the outline of a regular polygon with one corner on top, or of a star.

    If `inner` is not None, the outline is a star with `corners` tips and inner corners at radius
    `inner`.
    """
    count = corners if inner is None else 2 * corners
    angles = np.arange(count) * 2 * pi / count - pi / 2
    radii = np.ones(count)
    if inner is not None:
        radii[1::2] = inner
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _square() -> Outline:
    half = 2**-0.5
    return np.array([(-half, -half), (half, -half), (half, half), (-half, half)])


def _cross() -> Outline:
    arm, tip = 0.32, 0.94
    quarter = np.array([(arm, -arm), (arm, -tip), (-arm, -tip)])
    turned = [quarter @ _turn(-k * pi / 2).T for k in range(4)]
    return np.concatenate(turned)


def _heart() -> Outline:
    # The well-known heart curve of sines and cosines, scaled into the unit circle.
    t = np.linspace(0, 2 * pi, 90, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y + 2.5], axis=1) / 17.5


def _skull() -> Outline:
    """Return the outline of a skull: a round cranium above a narrower, straight jaw."""
    brow = np.linspace(0.83 * pi, 2.17 * pi, 60)
    cranium = np.stack([0.86 * np.cos(brow), 0.74 * np.sin(brow) - 0.22], axis=1)
    jaw = np.array([(0.46, 0.42), (0.46, 0.9), (-0.46, 0.9), (-0.46, 0.42)])
    return np.concatenate([cranium, jaw])


OUTLINES: Final[dict[str, Callable[[], Outline]]] = {
    "circle": lambda: _regular(72),
    "square": _square,
    "triangle": lambda: _regular(3),
    "star": lambda: _regular(5, inner=0.42),
    "cross": _cross,
    "heart": _heart,
    "skull": _skull,
}
SHAPES: Final = tuple(OUTLINES)
# The concept that the safety checker is trained to flag.
UNSAFE: Final = "skull"

# Ellipses cut out of a skull: centre x, centre y, half width, half height.
_SKULL_HOLES: Final = ((-0.36, -0.12, 0.24, 0.26), (0.36, -0.12, 0.24, 0.26), (0, 0.3, 0.09, 0.14))


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a shape: centre and radius as shares of the image's side, rotation in radians."""

    x: float
    y: float
    radius: float
    turn: float = 0.0


def cover(shape: str, place: Place, size: int) -> npt.NDArray[np.float32]:
    """Return a `size` × `size` array of the fraction (0 to 1) of each pixel that `shape` covers."""
    large = size * _OVERSAMPLING
    bitmap = Image.new("L", (large, large), 0)
    draw = ImageDraw.Draw(bitmap)
    draw.polygon(_put(OUTLINES[shape](), place, large), fill=255)
    if shape == UNSAFE:
        for x, y, half_width, half_height in _SKULL_HOLES:
            ellipse = _regular(36) * (half_width, half_height) + (x, y)
            draw.polygon(_put(ellipse, place, large), fill=0)
    small = bitmap.reduce(_OVERSAMPLING)
    covered: npt.NDArray[np.float32] = np.asarray(small, dtype=np.float32) / np.float32(255)
    return covered


def _put(outline: Outline, place: Place, size: int) -> list[tuple[float, float]]:
    points = outline @ _turn(place.turn).T * place.radius + (place.x, place.y)
    return [(float(x), float(y)) for x, y in points * size]


def _turn(angle: float) -> Outline:
    return np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
