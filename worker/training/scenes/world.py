"""The scenes of the training images: one coloured shape on a background, softly lit.

Everything is generated from a seed; external data is not used. Lengths are shares of the image's
side, so a scene can be painted at any size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, pi, sin
from typing import Final

import numpy as np
import numpy.typing as npt

from worker.training.scenes.shapes import SHAPES, Place, cover

Pixels = npt.NDArray[np.float32]  # height × width × 3, 0 to 255
Random = np.random.Generator

COLOURS: Final = {
    "red": (210, 35, 40),
    "orange": (240, 130, 30),
    "yellow": (245, 218, 60),
    "green": (45, 155, 70),
    "blue": (45, 90, 215),
    "purple": (135, 55, 170),
    "white": (242, 242, 240),
    "black": (30, 30, 34),
}
PATTERNS: Final = ("plain", "striped", "checked", "gradient")

_JITTER: Final = 8.0  # largest deviation of a colour from its name's value, in each channel
_RADII: Final = (0.15, 0.32)
_PITCHES: Final = (0.12, 0.25)
_MARGIN: Final = 0.02  # between a shape and the image's edge


@dataclass(frozen=True, slots=True)
class Thing:
    """The coloured shape in a scene: its shape, its colour and its position."""

    shape: str
    colour: str
    place: Place


@dataclass(frozen=True, slots=True)
class Background:
    """A background pattern in one colour and a lighter or darker tone of that colour.

    `pitch` is the width of a stripe or check as a share of the image's side; `angle` is the
    direction in radians across stripes or along a gradient.
    """

    pattern: str
    colour: str
    pitch: float
    angle: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Description of a training image: background, coloured shape (or None), and light.

    `light` is the direction in radians in which brightness grows. `tints` are small RGB offsets (in
    units of 0 to 255 values), first for the background's colour, then for the shape's.
    """

    thing: Thing | None
    background: Background
    light: float
    tints: tuple[tuple[float, float, float], ...]

    def without_thing(self) -> "Scene":
        """Return a copy of the scene without its coloured shape."""
        return replace(self, thing=None)


def random_scene(rng: Random, *, empty: bool = False) -> Scene:
    """Return a random scene, without a coloured shape if `empty` is true."""
    background = _background(rng)
    thing = None if empty else _thing(rng, background)
    tints = rng.uniform(-_JITTER, _JITTER, (2, 3))
    return Scene(
        thing=thing,
        background=background,
        light=float(rng.uniform(0, 2 * pi)),
        tints=tuple((float(r), float(g), float(b)) for r, g, b in tints),
    )


def random_thing(rng: Random, scene: Scene, place: Place) -> Thing:
    """Return a random shape at `place`, in a random colour other than the background's."""
    colour = one_of(rng, [name for name in COLOURS if name != scene.background.colour])
    return Thing(shape=one_of(rng, SHAPES), colour=colour, place=place)


def paint(scene: Scene, size: int) -> Pixels:
    """Return an image of `scene`, `size` × `size` pixels."""
    canvas = _paint_background(scene, size)
    if scene.thing is not None:
        covered = cover(scene.thing.shape, scene.thing.place, size)[..., None]
        canvas = canvas * (1 - covered) + _paint_thing(scene, scene.thing, size) * covered
    return np.clip(canvas, 0, 255).astype(np.float32)


def one_of(rng: Random, choices: Sequence[str]) -> str:
    """Return a random element of `choices`, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def _background(rng: Random) -> Background:
    return Background(
        pattern=one_of(rng, PATTERNS),
        colour=one_of(rng, tuple(COLOURS)),
        pitch=float(rng.uniform(*_PITCHES)),
        angle=int(rng.integers(4)) * pi / 4,
    )


def _thing(rng: Random, background: Background) -> Thing:
    radius = float(rng.uniform(*_RADII))
    low, high = radius + _MARGIN, 1 - radius - _MARGIN
    x, y = rng.uniform(low, high, 2)
    colour = one_of(rng, [name for name in COLOURS if name != background.colour])
    turn = float(rng.uniform(-0.2, 0.2))
    return Thing(one_of(rng, SHAPES), colour, Place(float(x), float(y), radius, turn))


def _paint_background(scene: Scene, size: int) -> Pixels:
    back = scene.background
    one = _shade(back.colour, scene.tints[0])
    share = _share_of_tone(back, size)[..., None]
    canvas: Pixels = (one * (1 - share) + _second_tone(one) * share) * _brightness(
        scene.light, size, depth=0.06
    )
    return canvas


def _share_of_tone(back: Background, size: int) -> Pixels:
    """Return for each pixel the fraction (0 to 1) of the background's second tone.

    Edges between the two tones are softened over one pixel.
    """
    along, across = _axes(back.angle, size)
    if back.pattern == "plain":
        return np.zeros_like(along)
    if back.pattern == "gradient":
        rising: Pixels = np.clip(along + 0.5, 0, 1)
        return rising
    stripes = _stripes(along, back.pitch, size)
    if back.pattern == "striped":
        return stripes
    others = _stripes(across, back.pitch, size)
    checks: Pixels = stripes * (1 - others) + others * (1 - stripes)
    return checks


def _axes(angle: float, size: int) -> tuple[Pixels, Pixels]:
    """Return each pixel's coordinates in axes rotated by `angle` (radians) around the centre.

    The result is (along, across), each `size` × `size`, in shares of the image's side.
    """
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = np.meshgrid(ticks, ticks)
    along = x * cos(angle) + y * sin(angle)
    across = y * cos(angle) - x * sin(angle)
    return along.astype(np.float32), across.astype(np.float32)


def _stripes(position: Pixels, pitch: float, size: int) -> Pixels:
    # Distance to the nearest edge, in pixels, by a triangle wave.
    wave = np.abs((position / pitch + 0.5) % 2 - 1) - 0.5
    soft: Pixels = np.clip(wave * pitch * size + 0.5, 0, 1)
    return soft


def _paint_thing(scene: Scene, thing: Thing, size: int) -> Pixels:
    light = _brightness(scene.light, size, depth=0.3 * thing.place.radius / _RADII[1])
    centre = cos(scene.light) * (thing.place.x - 0.5) + sin(scene.light) * (thing.place.y - 0.5)
    # Brightness is relative to the thing's own centre, wherever it is.
    own = light - 0.6 * thing.place.radius / _RADII[1] * np.float32(centre)
    painted: Pixels = _shade(thing.colour, scene.tints[1]) * own
    return painted


def _brightness(direction: float, size: int, depth: float) -> Pixels:
    along, _ = _axes(direction, size)
    brightness: Pixels = (1 + 2 * depth * along)[..., None]
    return brightness


def _shade(colour: str, tint: tuple[float, float, float]) -> Pixels:
    return np.array(COLOURS[colour], dtype=np.float32) + np.array(tint, dtype=np.float32)


def _second_tone(colour: Pixels) -> Pixels:
    """Return a darker tone of a light colour, or a lighter tone of a dark colour."""
    light = float(colour.mean()) > 150
    target, part = (0.0, 0.22) if light else (255.0, 0.3)
    return (colour * (1 - part) + target * part).astype(np.float32)
