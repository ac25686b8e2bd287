"""Small pictures of what is being drawn, for those who wait for it."""

from io import BytesIO
from typing import Final

from PIL import Image

# Sent a few times a second for each job under way: of a picture 1 to 3 kB, of mere noise, as the
# first steps show it, up to 6.
LONGEST_SIDE: Final = 96
_QUALITY: Final = 70


def encode_preview(image: Image.Image) -> bytes:
    """Give an RGB `image` as a small JPEG, at most 96 pixels wide and high."""
    small = image.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    buffer = BytesIO()
    small.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
