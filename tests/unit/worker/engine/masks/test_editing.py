"""Inverted, grown, blurred: in this order."""

from math import erf, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from common.domain.generation import Endpoint
from tests.unit.worker.engine.sample_images import a_request, disc, same
from worker.engine.masks.editing import edit_mask

SIDE, EDGE = 128, 64


def half_white() -> Image.Image:
    """Black on the left, white on the right, from column EDGE on."""
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (EDGE, 0, SIDE, SIDE))
    return mask


def changed(mask: Image.Image, **changes: Any) -> Image.Image:
    return edit_mask(mask, a_request(Endpoint.INPAINT, **changes))


def profile(mask: Image.Image) -> NDArray[np.int_]:
    """The levels along the middle row, which are those of every row."""
    rows = np.asarray(mask).astype(int)
    assert (rows == rows[SIDE // 2]).all()
    return np.asarray(rows[SIDE // 2])


def test_nothing_asked_nothing_changed() -> None:
    mask = disc()
    assert changed(mask) is mask


def test_inverting_swaps_what_is_kept() -> None:
    mask = half_white()
    mask.paste(40, (0, 0, SIDE, 8))
    inverted = changed(mask, mask_invert=True)
    assert (np.asarray(inverted) == 255 - np.asarray(mask)).all()
    assert same(changed(inverted, mask_invert=True), mask)


@pytest.mark.parametrize("radius", [2, 4, 8, 16])
def test_the_blur_is_a_gaussian_across_the_edge(radius: int) -> None:
    levels = profile(changed(half_white(), mask_blur=radius))
    from_edge = np.arange(SIDE) + 0.5 - EDGE
    gaussian = np.array([(1 + erf(x / radius / sqrt(2))) / 2 * 255 for x in from_edge])
    assert np.abs(levels - gaussian).max() < 7
    assert (np.diff(levels) >= 0).all()


@pytest.mark.parametrize("radius", [1, 2, 4, 8, 16])
def test_the_blur_ends_three_radii_away(radius: int) -> None:
    levels = profile(changed(half_white(), mask_blur=radius))
    assert not levels[: EDGE - 3 * radius].any()
    assert (levels[EDGE + 3 * radius + 1 :] == 255).all()
    assert 0 < levels[EDGE - radius] < levels[EDGE + radius] < 255


def test_the_order_is_invert_then_grow_then_blur() -> None:
    levels = profile(changed(half_white(), mask_invert=True, mask_grow=10, mask_blur=4))
    # White on the left, ten columns wider, with the middle of its soft edge there.
    moved = EDGE + 10
    assert levels[moved - 1] > 127 > levels[moved]
    assert (levels[: moved - 13] == 255).all()
    assert not levels[moved + 12 :].any()


def test_narrowing_an_inverted_mask_keeps_more() -> None:
    assert changed(half_white(), mask_invert=True, mask_grow=-10).getbbox() == (0, 0, 54, SIDE)
