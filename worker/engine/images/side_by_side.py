"""Several pictures in one, for people to compare."""

from collections.abc import Sequence
from io import BytesIO
from typing import Final

from PIL import Image

_GAP: Final = 8  # pixels


def side_by_side(pictures: Sequence[bytes]) -> bytes:
    """Put `pictures` (PNG, of one height) in a row and give that as PNG."""
    opened = [Image.open(BytesIO(each)).convert("RGB") for each in pictures]
    width = sum(each.width for each in opened) + _GAP * (len(opened) - 1)
    row = Image.new("RGB", (width, max(each.height for each in opened)), "white")
    left = 0
    for each in opened:
        row.paste(each, (left, 0))
        left += each.width + _GAP
    kept = BytesIO()
    row.save(kept, "PNG", optimize=True)
    return kept.getvalue()
