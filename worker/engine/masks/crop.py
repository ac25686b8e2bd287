"""Crop an image to its masked part."""

from PIL import Image

# Left, upper, right and lower edge in pixels, the latter two exclusive: Pillow's order.
Box = tuple[int, int, int, int]


def full_box(image: Image.Image) -> Box:
    """Return the box (left, upper, right, lower; in pixels) that covers the whole `image`."""
    return (0, 0, image.width, image.height)


def box_around(mask: Image.Image, padding: int | None) -> Box:
    """Return the smallest box around the non-black part of `mask`, padded by `padding` pixels.

    The box (left, upper, right, lower; in pixels) is extended to the aspect ratio of the mask,
    rounded up to whole pixels, and stays within the mask: at a border it is shifted inwards. It is
    the whole mask if `padding` is None or the mask is black.
    """
    bounds = mask.getbbox()
    if padding is None or bounds is None:
        return full_box(mask)
    left, right = _pad(bounds[0], bounds[2], padding, mask.width)
    upper, lower = _pad(bounds[1], bounds[3], padding, mask.height)
    width, height = _match_ratio(right - left, lower - upper, mask.size)
    left = _centre(left, right, width, mask.width)
    upper = _centre(upper, lower, height, mask.height)
    return (left, upper, left + width, upper + height)


def crop_and_resize(image: Image.Image, box: Box, resampling: Image.Resampling) -> Image.Image:
    """Return the part of `image` in `box`, scaled up to the size of `image`."""
    return image if box == full_box(image) else image.resize(image.size, resampling, box=box)


def _pad(start: int, end: int, padding: int, length: int) -> tuple[int, int]:
    return max(0, start - padding), min(length, end + padding)


def _match_ratio(width: int, height: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) with one of them increased to match the aspect ratio of `shape`.

    `shape` is a (width, height); the increased side is rounded up.
    """
    full_width, full_height = shape
    if width * full_height >= height * full_width:
        return width, -(-width * full_height // full_width)
    return -(-height * full_width // full_height), height


def _centre(start: int, end: int, length: int, limit: int) -> int:
    """Return the start of a range of `length` that is centred on the range `start` to `end`.

    If necessary, the range is shifted to lie within 0 to `limit`.
    """
    return min(max(0, start - (length - (end - start)) // 2), limit - length)
