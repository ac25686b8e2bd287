"""The mask given to the model, derived from the mask that the result is composed with."""

from typing import Final

import numpy as np
from PIL import Image

# Pixels along the side of a latent; all supported models have this factor.
CELL: Final = 8
# Below this value, a thirty-second of white, repainted pixels are invisible in the result.
FAINT: Final = 8


def model_mask(mask: Image.Image) -> Image.Image:
    """Return a mask for the model in which every latent cell that `mask` visibly touches is white.

    The pipelines repaint what is at least half white, sampled once per cell of 8 × 8 pixels. With a
    soft mask, generated pixels would end in the middle of the soft edge, at half strength, and
    leave the seam that the soft edge is meant to hide. A hard mask is returned unchanged.

    See docs/decisions/0027-soft-edges-are-repainted-completely.md.
    """
    if not any(mask.histogram()[1:-1]):
        return mask
    height, width = mask.height, mask.width
    pixels = np.asarray(mask)
    rows = np.maximum.reduceat(pixels, range(0, height, CELL), axis=0)
    cells = np.maximum.reduceat(rows, range(0, width, CELL), axis=1) >= FAINT
    repainted = cells.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]
    return Image.fromarray(repainted.astype(np.uint8) * 255)
