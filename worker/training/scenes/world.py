"""The world the small model knows: one coloured shape on a background, lit softly.

Everything is drawn here, from a seed; there is no outside data. Sizes are in parts of the
picture's side, so a scene can be drawn at any size.
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

_JITTER: Final = 8.0  # how far a colour may stray from its name's, each channel
_RADII: Final = (0.15, 0.32)
_PITCHES: Final = (0.12, 0.25)
_MARGIN: Final = 0.02  # between a shape and the picture's edge


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape of one colour somewhere."""

    shape: str
    colour: str
    place: Place


@dataclass(frozen=True, slots=True)
class Background:
    """What lies behind: a pattern of a colour and its lighter or darker tone.

    `pitch` is the width of a stripe or check, `angle` the direction of stripes and gradients.
    """

    pattern: str
    colour: str
    pitch: float
    angle: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A background with or without a thing, and the light on them.

    `light` is the direction that brightness grows in, `tints` moves the colours a little.
    """

    thing: Thing | None
    background: Background
    light: float
    tints: tuple[tuple[float, float, float], ...]

    def without_thing(self) -> "Scene":
        """Give the same place with nothing in it."""
        return replace(self, thing=None)


def imagine(draw: Random, *, empty: bool = False) -> Scene:
    """Think of a scene."""
    background = _background(draw)
    thing = None if empty else _thing(draw, background)
    tints = draw.uniform(-_JITTER, _JITTER, (2, 3))
    return Scene(
        thing=thing,
        background=background,
        light=float(draw.uniform(0, 2 * pi)),
        tints=tuple((float(r), float(g), float(b)) for r, g, b in tints),
    )


def other_thing(draw: Random, scene: Scene, place: Place) -> Thing:
    """Think of a thing that could stand at `place` in `scene`, told apart from its background."""
    colour = one_of(draw, [name for name in COLOURS if name != scene.background.colour])
    return Thing(shape=one_of(draw, SHAPES), colour=colour, place=place)


def paint(scene: Scene, size: int) -> Pixels:
    """Draw `scene`, `size` × `size`."""
    canvas = _paint_background(scene, size)
    if scene.thing is not None:
        covered = cover(scene.thing.shape, scene.thing.place, size)[..., None]
        canvas = canvas * (1 - covered) + _paint_thing(scene, scene.thing, size) * covered
    return np.clip(canvas, 0, 255).astype(np.float32)


def one_of(draw: Random, choices: Sequence[str]) -> str:
    """Pick one, each as likely as the others."""
    return choices[int(draw.integers(len(choices)))]


def _background(draw: Random) -> Background:
    return Background(
        pattern=one_of(draw, PATTERNS),
        colour=one_of(draw, tuple(COLOURS)),
        pitch=float(draw.uniform(*_PITCHES)),
        angle=int(draw.integers(4)) * pi / 4,
    )


def _thing(draw: Random, background: Background) -> Thing:
    radius = float(draw.uniform(*_RADII))
    low, high = radius + _MARGIN, 1 - radius - _MARGIN
    x, y = draw.uniform(low, high, 2)
    colour = one_of(draw, [name for name in COLOURS if name != background.colour])
    turn = float(draw.uniform(-0.2, 0.2))
    return Thing(one_of(draw, SHAPES), colour, Place(float(x), float(y), radius, turn))


def _paint_background(scene: Scene, size: int) -> Pixels:
    back = scene.background
    one = _shade(back.colour, scene.tints[0])
    share = _share_of_tone(back, size)[..., None]
    canvas: Pixels = (one * (1 - share) + _tone(one) * share) * _lit(scene.light, size, depth=0.06)
    return canvas


def _share_of_tone(back: Background, size: int) -> Pixels:
    """Give how much of each pixel is of the colour's other tone, with edges a pixel soft."""
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
    """Give each pixel's way from the centre along `angle` and across it."""
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y = np.meshgrid(ticks, ticks)
    along = x * cos(angle) + y * sin(angle)
    across = y * cos(angle) - x * sin(angle)
    return along.astype(np.float32), across.astype(np.float32)


def _stripes(way: Pixels, pitch: float, size: int) -> Pixels:
    # The distance to the nearest edge, in pixels, told by a triangle wave.
    wave = np.abs((way / pitch + 0.5) % 2 - 1) - 0.5
    soft: Pixels = np.clip(wave * pitch * size + 0.5, 0, 1)
    return soft


def _paint_thing(scene: Scene, thing: Thing, size: int) -> Pixels:
    light = _lit(scene.light, size, depth=0.3 * thing.place.radius / _RADII[1])
    centre = cos(scene.light) * (thing.place.x - 0.5) + sin(scene.light) * (thing.place.y - 0.5)
    # Brightness is taken about the thing's own middle, wherever it stands.
    own = light - 0.6 * thing.place.radius / _RADII[1] * np.float32(centre)
    painted: Pixels = _shade(thing.colour, scene.tints[1]) * own
    return painted


def _lit(direction: float, size: int, depth: float) -> Pixels:
    along, _ = _axes(direction, size)
    lit: Pixels = (1 + 2 * depth * along)[..., None]
    return lit


def _shade(colour: str, tint: tuple[float, float, float]) -> Pixels:
    return np.array(COLOURS[colour], dtype=np.float32) + np.array(tint, dtype=np.float32)


def _tone(colour: Pixels) -> Pixels:
    """Give a darker tone of a light colour, a lighter one of a dark."""
    light = float(colour.mean()) > 150
    target, part = (0.0, 0.22) if light else (255.0, 0.3)
    return (colour * (1 - part) + target * part).astype(np.float32)
