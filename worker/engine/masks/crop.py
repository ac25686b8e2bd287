"""The part of a picture that is worked on in place of the whole."""

from PIL import Image

# Left, upper, right and lower edge in pixels, the latter two exclusive: Pillow's order.
Box = tuple[int, int, int, int]


def full_box(image: Image.Image) -> Box:
    """Give the box of all of `image`."""
    return (0, 0, image.width, image.height)


def box_around(mask: Image.Image, padding: int | None) -> Box:
    """Give the least box of the picture's shape around what is not black, and `padding` pixels.

    Its sides are as those of the picture, to the pixel, and it lies within the picture: at a
    border there is more on the other side instead. It is the whole where `padding` is None or
    nothing is to be repainted.
    """
    bounds = mask.getbbox()
    if padding is None or bounds is None:
        return full_box(mask)
    left, right = _padded(bounds[0], bounds[2], padding, mask.width)
    upper, lower = _padded(bounds[1], bounds[3], padding, mask.height)
    across, down = _widened(right - left, lower - upper, mask.size)
    left = _placed(left, right, across, mask.width)
    upper = _placed(upper, lower, down, mask.height)
    return (left, upper, left + across, upper + down)


def crop_and_resize(image: Image.Image, box: Box, way: Image.Resampling) -> Image.Image:
    """Give what is in `box` at the size of all of `image`."""
    return image if box == full_box(image) else image.resize(image.size, way, box=box)


def _padded(start: int, end: int, padding: int, length: int) -> tuple[int, int]:
    return max(0, start - padding), min(length, end + padding)


def _widened(across: int, down: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Make one of two lengths longer, until they stand to each other as `shape`'s, rounded up."""
    width, height = shape
    if across * height >= down * width:
        return across, -(-across * height // width)
    return -(-down * width // height), down


def _placed(start: int, end: int, length: int, limit: int) -> int:
    """Give where a stretch of `length` begins whose middle is that of `start` … `end`."""
    return min(max(0, start - (length - (end - start)) // 2), limit - length)
