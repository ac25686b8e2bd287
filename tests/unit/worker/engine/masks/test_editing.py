"""Inverting, growing and blurring of masks, in this order."""

from math import erf, pi, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from common.domain.generation import Endpoint
from tests.unit.worker.engine.sample_images import a_request, disc, same
from worker.engine.masks.editing import edit_mask, grow_mask

SIDE, EDGE = 128, 64
WIDTH, HEIGHT = 28, 20
BEYOND_ALL = 10**9


def half_white() -> Image.Image:
    """Return a mask that is black on the left and white from column EDGE on."""
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (EDGE, 0, SIDE, SIDE))
    return mask


def changed(mask: Image.Image, **changes: Any) -> Image.Image:
    return edit_mask(mask, a_request(Endpoint.INPAINT, **changes))


def profile(mask: Image.Image) -> NDArray[np.int_]:
    """Return the values along the middle row, which equals every row."""
    rows = np.asarray(mask).astype(int)
    assert (rows == rows[SIDE // 2]).all()
    return np.asarray(rows[SIDE // 2])


def test_without_options_the_mask_is_unchanged() -> None:
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
    pixels = profile(changed(half_white(), mask_blur=radius))
    from_edge = np.arange(SIDE) + 0.5 - EDGE
    gaussian = np.array([(1 + erf(x / radius / sqrt(2))) / 2 * 255 for x in from_edge])
    assert np.abs(pixels - gaussian).max() < 7
    assert (np.diff(pixels) >= 0).all()


@pytest.mark.parametrize("radius", [1, 2, 4, 8, 16])
def test_the_blur_ends_three_radii_away(radius: int) -> None:
    pixels = profile(changed(half_white(), mask_blur=radius))
    assert not pixels[: EDGE - 3 * radius].any()
    assert (pixels[EDGE + 3 * radius + 1 :] == 255).all()
    assert 0 < pixels[EDGE - radius] < pixels[EDGE + radius] < 255


def test_the_order_is_invert_then_grow_then_blur() -> None:
    pixels = profile(changed(half_white(), mask_invert=True, mask_grow=10, mask_blur=4))
    # White on the left, ten columns wider, with the middle of its soft edge there.
    moved = EDGE + 10
    assert pixels[moved - 1] > 127 > pixels[moved]
    assert (pixels[: moved - 13] == 255).all()
    assert not pixels[moved + 12 :].any()


def test_shrinking_an_inverted_mask_keeps_more() -> None:
    assert changed(half_white(), mask_invert=True, mask_grow=-10).getbbox() == (0, 0, 54, SIDE)


def speckled() -> NDArray[np.uint8]:
    """Return a few pixels of any value on black, including corners."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(1, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    pixels[rng.random((HEIGHT, WIDTH)) < 0.97] = 0
    pixels[0, 0], pixels[-1, -1] = 40, 255
    return pixels


def within(radius: int) -> NDArray[np.bool_]:
    """Return for each pixel which others are within `radius`: all × all."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1)
    apart = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    return np.asarray(apart <= radius**2)


def round_mask(radius: float, side: int = 128) -> Image.Image:
    rows, columns = np.mgrid[:side, :side] - side / 2
    return Image.fromarray((np.hypot(rows, columns) <= radius).astype(np.uint8) * 255)


def area(mask: Image.Image) -> float:
    return float(np.count_nonzero(np.asarray(mask)))


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 8, 13, 21, BEYOND_ALL])
def test_growing_takes_the_greatest_value_within_the_radius(radius: int) -> None:
    pixels = speckled()
    near = within(min(radius, 100))
    expected = np.where(near, pixels.reshape(1, -1), 0).max(axis=1).reshape(pixels.shape)
    assert (np.asarray(grow_mask(Image.fromarray(pixels), radius)) == expected).all()


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 8, 13, 21, BEYOND_ALL])
def test_shrinking_takes_the_least_value_within_the_radius(radius: int) -> None:
    pixels = 255 - speckled()
    near = within(min(radius, 100))
    expected = np.where(near, pixels.reshape(1, -1), 255).min(axis=1).reshape(pixels.shape)
    assert (np.asarray(grow_mask(Image.fromarray(pixels), -radius)) == expected).all()


@pytest.mark.parametrize("by", [-12, -5, 3, 16, 30])
def test_a_grown_or_shrunk_disc_is_still_a_disc(by: int) -> None:
    radius = 25
    before, after = round_mask(radius), grow_mask(round_mask(radius), by)
    assert area(after) == pytest.approx(pi * (radius + by) ** 2, rel=0.03)
    smaller, larger = (before, after) if by > 0 else (after, before)
    assert (np.asarray(larger)[np.asarray(smaller) == 255] == 255).all()


def test_a_radius_of_zero_changes_nothing() -> None:
    mask = round_mask(10)
    assert grow_mask(mask, 0) is mask


def test_a_mask_at_the_border_stays_there_when_shrunk() -> None:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((0, 0, 31, 63), fill=255)
    assert grow_mask(mask, -10).getbbox() == (0, 0, 22, 64)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_masks_can_be_edited(size: tuple[int, int]) -> None:
    mask = Image.new("L", size)
    mask.putpixel((size[0] - 1, size[1] - 1), 200)
    assert grow_mask(mask, 9).getextrema() == (200, 200)
