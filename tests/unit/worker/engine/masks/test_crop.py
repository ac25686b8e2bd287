"""The cropped box: the image's aspect ratio, around the mask, within the image."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.unit.worker.engine.sample_images import noise
from worker.engine.masks.crop import Box, box_around, crop_and_resize, full_box


def patch(size: tuple[int, int], box: Box) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(1, box)  # the faintest there is
    return mask


@pytest.mark.parametrize(
    ("size", "painted", "padding", "box"),
    [
        ((64, 64), (20, 30, 24, 34), 0, (20, 30, 24, 34)),
        ((64, 64), (20, 30, 24, 34), 4, (16, 26, 28, 38)),
        ((64, 64), (20, 30, 40, 34), 0, (20, 22, 40, 42)),  # widened about its middle
        ((64, 64), (0, 0, 4, 4), 6, (0, 0, 10, 10)),  # corners: no padding beyond the image
        ((64, 64), (60, 60, 64, 64), 6, (54, 54, 64, 64)),
        ((64, 64), (0, 60, 30, 64), 0, (0, 34, 30, 64)),  # widened to the side where there is room
        ((64, 64), (60, 0, 64, 30), 5, (29, 0, 64, 35)),
        ((128, 64), (10, 10, 20, 20), 0, (5, 10, 25, 20)),  # as wide again as it is high
        ((64, 128), (10, 10, 20, 20), 0, (10, 5, 20, 25)),
        ((72, 64), (10, 10, 11, 11), 0, (10, 10, 12, 11)),  # rounded up to whole pixels
        ((64, 64), (0, 31, 64, 33), 0, (0, 0, 64, 64)),  # across the image: all of it
        ((64, 64), (31, 31, 33, 33), 64, (0, 0, 64, 64)),
        ((64, 64), (31, 31, 33, 33), 10**9, (0, 0, 64, 64)),
    ],
)
def test_the_box_is_the_padded_mask_widened_to_the_aspect_ratio(
    size: tuple[int, int], painted: Box, padding: int, box: Box
) -> None:
    assert box_around(patch(size, painted), padding) == box


def test_the_box_is_the_whole_image_without_padding_or_mask() -> None:
    assert box_around(patch((64, 48), (1, 1, 2, 2)), None) == (0, 0, 64, 48)
    assert box_around(Image.new("L", (64, 48)), 4) == (0, 0, 64, 48)


def spans(length: int) -> st.SearchStrategy[tuple[int, int]]:
    """A start and an end within `length`, at least one apart."""
    bounds = st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)
    return bounds.map(lambda ends: (min(ends), max(ends)))


@st.composite
def patches(draw: st.DrawFn) -> tuple[tuple[int, int], Box]:
    """A size, and a box in it."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    (left, right), (upper, lower) = draw(spans(width)), draw(spans(height))
    return (width, height), (left, upper, right, lower)


@settings(max_examples=200, deadline=None)
@given(patches(), st.integers(0, 50))
@example(((1, 1), (0, 0, 1, 1)), 0)
def test_any_box_contains_the_mask_and_has_the_aspect_ratio_of_the_image(
    painted: tuple[tuple[int, int], Box], padding: int
) -> None:
    (width, height), (left, upper, right, lower) = painted
    box = box_around(patch(*painted), padding)
    assert 0 <= box[0] <= max(0, left - padding)
    assert 0 <= box[1] <= max(0, upper - padding)
    assert min(width, right + padding) <= box[2] <= width
    assert min(height, lower + padding) <= box[3] <= height
    across, down = box[2] - box[0], box[3] - box[1]
    # Of the image's aspect ratio, to less than a pixel of either side.
    assert abs(across * height - down * width) < max(width, height)


def test_the_whole_image_is_not_resampled() -> None:
    image = noise()
    assert crop_and_resize(image, full_box(image), Image.Resampling.LANCZOS) is image


def test_a_box_is_enlarged_to_full_size() -> None:
    rows, columns = np.mgrid[:48, :64]
    ramp = Image.fromarray(np.stack((columns * 4, rows * 5, 0 * rows), 2).astype(np.uint8))
    shown = np.asarray(crop_and_resize(ramp, (16, 12, 32, 24), Image.Resampling.LANCZOS)).astype(
        int
    )
    assert shown.shape == (48, 64, 3)
    # Four times as large: pixel x shows what lies at 16 + (x + ½) / 4 - ½, and is 4 levels a pixel.
    expected_red = (16 + (columns + 0.5) / 4 - 0.5) * 4
    expected_green = (12 + (rows + 0.5) / 4 - 0.5) * 5
    assert np.abs(shown[..., 0] - expected_red).max() <= 1
    assert np.abs(shown[..., 1] - expected_green).max() <= 1
