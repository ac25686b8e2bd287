"""Read a mask from an 8-bit image, by its brightness or by its transparency."""

from typing import Final

from PIL import Image

# Levels this near to black or white count as black or white, as in a mask saved as JPEG.
NEAR: Final = 16
# In a mask, at most this part of the visible pixels has a level between black and white.
MAX_BETWEEN: Final = 0.05
_HALF: Final = 128


def read_mask(image: Image.Image) -> Image.Image:
    """Return the mask in an 8-bit `image` as grey levels (mode L); white is repainted.

    With transparent parts, three kinds of image are told apart by their visible pixels:

    - All have one colour: strokes on a transparent layer. The strokes are repainted.
    - Nearly all are black or white: a mask. Transparent parts are kept.
    - Others: a photo with erased holes. The holes are repainted.

    A mask of the two levels 0 and n, where n is too dark to be seen, is read as black and white.
    """
    if image.mode != "RGBA" or image.getchannel("A").getextrema()[0] == 255:  # noqa: PLR2004 opaque
        return _stretch(_to_grey(image))
    alpha = image.getchannel("A")
    visible = alpha.point([255 * (level >= _HALF) for level in range(256)])
    if visible.getbbox() is None:
        return Image.new("L", image.size, 0)
    if _has_one_colour(image, visible):
        return alpha
    if _is_black_and_white(image, visible):
        black = Image.new("RGBA", image.size, "black")
        return _stretch(_to_grey(Image.alpha_composite(black, image)))
    return alpha.point([255 - level for level in range(256)])


def _to_grey(image: Image.Image) -> Image.Image:
    return image if image.mode == "L" else image.convert("L")


def _has_one_colour(image: Image.Image, visible: Image.Image) -> bool:
    for channel in image.split()[:3]:
        levels = [level for level, number in enumerate(channel.histogram(visible)) if number]
        if levels[-1] - levels[0] >= NEAR:
            return False
    return True


def _is_black_and_white(image: Image.Image, visible: Image.Image) -> bool:
    levels = image.convert("L").histogram(visible)
    return sum(levels[NEAR:-NEAR]) <= MAX_BETWEEN * sum(levels)


def _stretch(mask: Image.Image) -> Image.Image:
    """Return `mask` with its two levels as black and white if both are nearly black."""
    levels = [level for level, number in enumerate(mask.histogram()) if number]
    if len(levels) != 2 or levels[0] != 0 or levels[1] >= NEAR:  # noqa: PLR2004 two levels
        return mask
    return mask.point([255 * (level > 0) for level in range(256)])
