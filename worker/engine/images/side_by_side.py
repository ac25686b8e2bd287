"""Place several images side by side in one, for comparison."""

from collections.abc import Sequence
from io import BytesIO
from typing import Final

from PIL import Image

_GAP: Final = 8  # pixels


def side_by_side(images: Sequence[bytes]) -> bytes:
    """Return one PNG that shows the PNG `images`, all of the same height, in a row."""
    decoded = [Image.open(BytesIO(image)).convert("RGB") for image in images]
    width = sum(image.width for image in decoded) + _GAP * (len(decoded) - 1)
    row = Image.new("RGB", (width, max(image.height for image in decoded)), "white")
    left = 0
    for image in decoded:
        row.paste(image, (left, 0))
        left += image.width + _GAP
    buffer = BytesIO()
    row.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
