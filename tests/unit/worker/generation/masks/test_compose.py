"""What the mask keeps is kept exactly."""

import numpy as np
from PIL import Image
from worker.generation.compose import keep_outside_mask

from tests.unit.worker.generation.pictures import disc, noise


def test_black_keeps_and_white_repaints() -> None:
    init, drawn, mask = noise(seed=1), noise(seed=2), disc()
    result = np.asarray(keep_outside_mask(drawn, init, mask))
    white = np.asarray(mask) == 255
    assert (result[~white] == np.asarray(init)[~white]).all()
    assert (result[white] == np.asarray(drawn)[white]).all()


def test_grey_blends() -> None:
    black, white = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), "white")
    result = keep_outside_mask(white, black, Image.new("L", (4, 4), 64))
    assert result.getpixel((0, 0)) == (64, 64, 64)
