"""The model's mask covers all of a soft edge; a hard mask is unchanged."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.unit.worker.engine.sample_images import disc
from worker.engine.masks.model_mask import CELL, FAINT, model_mask

SIZE = (128, 96)


def soft(radius: int) -> Image.Image:
    return disc(SIZE).filter(ImageFilter.GaussianBlur(radius))


def repainted(mask: Image.Image) -> NDArray[np.bool_]:
    """Return a pipeline's mask: at least half white, one sample per latent cell."""
    latents = (np.asarray(mask) >= 128)[::CELL, ::CELL]
    return np.asarray(np.kron(latents, np.ones((CELL, CELL), dtype=bool)))


def share_at_the_rim(cells: NDArray[np.bool_], mask: Image.Image) -> float:
    """Return the greatest share of generated pixels in the result where the repainted area ends."""
    pixels = np.asarray(mask).astype(float)
    across, down = np.diff(cells, axis=1), np.diff(cells, axis=0)
    shares = (pixels[:, :-1][across], pixels[:, 1:][across], pixels[:-1][down], pixels[1:][down])
    return float(np.concatenate(shares).max()) / 255


@pytest.mark.parametrize("mask", [disc(SIZE), Image.new("L", SIZE), Image.new("L", SIZE, 255)])
def test_a_hard_mask_is_unchanged(mask: Image.Image) -> None:
    assert model_mask(mask) is mask


@pytest.mark.parametrize("radius", [1, 2, 4, 8])
def test_cells_with_a_visible_part_are_repainted(radius: int) -> None:
    mask = soft(radius)
    shown = np.asarray(model_mask(mask))
    for top in range(0, SIZE[1], CELL):
        for left in range(0, SIZE[0], CELL):
            cell = np.s_[top : top + CELL, left : left + CELL]
            seen = np.asarray(mask)[cell].max() >= FAINT
            assert (shown[cell] == (255 if seen else 0)).all()
    assert (repainted(model_mask(mask)) == (shown == 255)).all()


@pytest.mark.parametrize("radius", [2, 4, 8])
def test_generated_pixels_end_where_they_are_hardly_visible(radius: int) -> None:
    mask = soft(radius)
    assert share_at_the_rim(repainted(mask), mask) > 0.8  # otherwise this shows nothing
    assert share_at_the_rim(repainted(model_mask(mask)), mask) < 0.1


def test_faint_greys_alone_repaint_nothing() -> None:
    assert model_mask(Image.new("L", SIZE, FAINT - 1)).getextrema() == (0, 0)
    assert model_mask(Image.new("L", SIZE, FAINT)).getextrema() == (255, 255)


@pytest.mark.parametrize("size", [(1, 1), (9, 7), (17, 24)])
def test_sizes_that_are_no_multiple_of_a_cell_are_supported(size: tuple[int, int]) -> None:
    mask = Image.new("L", size)
    mask.putpixel((size[0] - 1, size[1] - 1), 99)
    shown = model_mask(mask)
    assert shown.size == size
    assert shown.getpixel((size[0] - 1, size[1] - 1)) == 255
