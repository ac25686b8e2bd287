"""How each kind of mask is read: white is repainted, black is kept."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageChops

from tests.unit.worker.engine.sample_images import disc, encoded, noise, same
from worker.engine.images.decode import decode_mask

DISC = disc().point([255 * (level > 127) for level in range(256)])
OUTSIDE = ImageChops.invert(DISC)
WHITE, BLACK = (Image.new("L", DISC.size, level) for level in (255, 0))


def levels(low: int, high: int, kind: type[np.unsignedinteger]) -> Image.Image:
    """Return the disc in level `high` on level `low`."""
    return Image.fromarray(np.where(np.asarray(DISC) > 0, high, low).astype(kind))


def layer(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return an image with the given transparency."""
    image = colours.convert("RGBA")
    image.putalpha(alpha)
    return image


def plain(colour: str) -> Image.Image:
    return Image.new("RGB", DISC.size, colour)


READINGS: list[tuple[str, Callable[[], Image.Image], Image.Image]] = [
    ("white on black", lambda: DISC, DISC),
    ("white everywhere", lambda: WHITE, WHITE),
    ("black everywhere", lambda: BLACK, BLACK),
    ("levels 0 and 1", lambda: levels(0, 1, np.uint8), DISC),
    (
        "levels 1 and 2: it is unclear which is meant",
        lambda: levels(1, 2, np.uint8),
        levels(1, 2, np.uint8),
    ),
    ("a soft level stays as it is", lambda: levels(0, 100, np.uint8), levels(0, 100, np.uint8)),
    ("16 bits with levels 0 and 255", lambda: levels(0, 255, np.uint16), DISC),
    ("16 bits with levels 0 and 1", lambda: levels(0, 1, np.uint16), DISC),
    ("16 bits with levels 0 and 65535", lambda: levels(0, 65_535, np.uint16), DISC),
    ("white strokes on transparent", lambda: layer(plain("white"), DISC), DISC),
    ("black strokes on transparent", lambda: layer(plain("black"), DISC), DISC),
    ("red strokes on transparent", lambda: layer(plain("red"), DISC), DISC),
    ("a photo with an erased hole", lambda: layer(noise(), OUTSIDE), DISC),
    ("a photo without transparency is read by brightness", noise, noise().convert("L")),
    ("black and white, transparent corners", lambda: layer(DISC, WHITE.copy()), DISC),
    ("nothing is visible", lambda: layer(noise(), BLACK), BLACK),
]


@pytest.mark.parametrize(
    ("image", "reading"), [case[1:] for case in READINGS], ids=[case[0] for case in READINGS]
)
def test_a_mask_is_read_as_meant(image: Callable[[], Image.Image], reading: Image.Image) -> None:
    assert same(decode_mask(encoded(image()), "mask_image"), reading)


def test_transparent_parts_of_a_black_and_white_mask_are_kept() -> None:
    alpha = WHITE.copy()
    alpha.paste(0, (28, 28, 36, 36))
    reading = DISC.copy()
    reading.paste(0, (28, 28, 36, 36))
    assert same(decode_mask(encoded(layer(DISC, alpha)), "mask_image"), reading)
