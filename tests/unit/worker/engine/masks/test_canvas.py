"""Masked-out pixels are kept exactly, and generated pixels are pasted at their place."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from common.domain.errors import InvalidImageError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.sample_images import a_request, disc, noise, same
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.images.inputs import InputImages
from worker.engine.masks.canvas import Canvas
from worker.engine.masks.editing import edit_mask
from worker.engine.masks.model_mask import FAINT

WIDTH, HEIGHT = SIZE = (96, 64)


def canvas_for(init: Image.Image, mask: Image.Image, **changes: Any) -> Canvas:
    request = a_request(Endpoint.INPAINT, width=init.width, height=init.height, **changes)
    return Canvas.of(request, InputImages(init, mask))


def dot() -> Image.Image:
    """Return a hard disc of radius 8 near a corner."""
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).ellipse((8, 6, 24, 22), fill=255)
    return mask


def ramp() -> Image.Image:
    """Return an image whose colours encode the position: 2 of red a column, 3 of green a row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack((columns * 2, rows * 3, 0 * rows), 2).astype(np.uint8))


def pixels(image: Image.Image | None) -> NDArray[np.int_]:
    return np.asarray(image).astype(int)


def test_endpoints_without_a_mask_pass_through() -> None:
    init, generated = noise(SIZE), noise(SIZE, seed=1)
    for endpoint, pixels in (
        (Endpoint.TEXT2IMG, InputImages()),
        (Endpoint.IMG2IMG, InputImages(init)),
    ):
        canvas = Canvas.of(a_request(endpoint, mask_padding=4, mask_blur=4), pixels)
        assert (canvas.init, canvas.mask) == (pixels.init, None)
        assert canvas.finish(generated) is generated


def test_black_keeps_and_white_repaints() -> None:
    init, generated, mask = noise(seed=1), noise(seed=2), disc()
    canvas = canvas_for(init, mask)
    assert canvas.init is init
    assert canvas.mask is mask
    result, white = pixels(canvas.finish(generated)), pixels(mask) == 255
    assert (result[~white] == pixels(init)[~white]).all()
    assert (result[white] == pixels(generated)[white]).all()


def test_each_level_of_grey_blends_in_proportion() -> None:
    mask = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    for seed in range(4):
        init, generated = noise((16, 16), seed), noise((16, 16), seed + 10)
        share = pixels(mask)[..., None] / 255
        expected = pixels(generated) * share + pixels(init) * (1 - share)
        result = pixels(canvas_for(init, mask).finish(generated))
        assert np.abs(result - expected).max() <= 0.51
        assert (result[0, 0] == pixels(init)[0, 0]).all()
        assert (result[-1, -1] == pixels(generated)[-1, -1]).all()


def test_a_soft_edge_blends_generated_pixels_only() -> None:
    init, generated = Image.new("RGB", SIZE), Image.new("RGB", SIZE, "white")
    canvas = canvas_for(init, dot(), mask_blur=3)
    soft = pixels(edit_mask(dot(), a_request(Endpoint.INPAINT, mask_blur=3)))
    assert (pixels(canvas.finish(generated)) == soft[..., None]).all()
    assert (pixels(canvas.mask)[soft >= 8] == 255).all()


@pytest.mark.parametrize("padding", [0, 5])
def test_the_model_sees_the_padded_box_at_full_size(padding: int) -> None:
    canvas = canvas_for(ramp(), dot(), mask_padding=padding)
    # The disc's 17 × 17 pixels and the padding, and half as much again across.
    down = 17 + 2 * padding
    across = -(-down * WIDTH // HEIGHT)
    left, upper = max(0, 8 - padding - (across - down) // 2), 6 - padding
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    shown = pixels(canvas.init)
    assert np.abs(shown[..., 0] - 2 * (left + columns * across / WIDTH - 0.5)).max() <= 1.5
    assert np.abs(shown[..., 1] - 3 * (upper + rows * down / HEIGHT - 0.5)).max() <= 2
    wide = pixels(canvas.mask)
    assert wide.shape == (HEIGHT, WIDTH)
    centre = (columns * across / WIDTH + left - 16.5, rows * down / HEIGHT + upper - 14.5)
    distance = np.hypot(*centre)
    assert (wide[distance < 8] == 255).all()
    # The edge may move by one latent cell (8 pixels at the model's scale) and half an image pixel.
    assert not wide[distance > 8.5 + 1 + 8 * 1.42 * down / HEIGHT].any()


@pytest.mark.parametrize("padding", [0, 5, 12])
def test_generated_pixels_are_pasted_at_their_place(padding: int) -> None:
    init, white = noise(SIZE), pixels(dot()) == 255
    canvas = canvas_for(init, dot(), mask_padding=padding)
    result = pixels(canvas.finish(ramp()))
    assert (result[~white] == pixels(init)[~white]).all()
    down = 17 + min(6, padding) + padding
    across = -(-down * WIDTH // HEIGHT)
    left = max(0, round(16.5 - across / 2))
    upper = max(0, 6 - padding)
    rows, columns = np.nonzero(white)
    red = 2 * ((columns + 0.5 - left) * WIDTH / across - 0.5)
    green = 3 * ((rows + 0.5 - upper) * HEIGHT / down - 0.5)
    # The image is scaled down, and its ramp is steep: half a pixel of it is up to 6 levels.
    inner = (red > 12) & (red < 2 * WIDTH - 12) & (green > 12) & (green < 3 * HEIGHT - 12)
    assert inner.mean() > 0.8
    assert np.abs(result[rows, columns, 0] - red)[inner].max() < 6
    assert np.abs(result[rows, columns, 1] - green)[inner].max() < 6


@pytest.mark.parametrize("changes", [{}, {"mask_padding": 0}, {"mask_padding": 9, "mask_blur": 4}])
def test_an_identity_model_changes_nothing(changes: dict[str, int]) -> None:
    canvas = canvas_for(ramp(), dot(), **changes)
    assert canvas.init is not None
    assert np.abs(pixels(canvas.finish(canvas.init)) - pixels(ramp())).max() <= 2


def test_a_box_of_the_whole_image_is_no_crop() -> None:
    init, mask = noise(SIZE), disc(SIZE)
    for padding in (32, 1000):
        canvas = canvas_for(init, mask, mask_padding=padding)
        assert canvas.init is init
        assert canvas.mask is mask


def test_mask_options_reach_the_engine(engine: DiffusersEngine) -> None:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).ellipse((40, 8, 56, 24), fill=255)
    request = a_request(Endpoint.INPAINT, mask_grow=2, mask_blur=1, mask_padding=4, strength=1.0)
    result = pixels(engine.generate(request, InputImages(noise(), mask)).images[0])
    amount, before = pixels(edit_mask(mask, request)), pixels(noise())
    assert (result[amount == 0] == before[amount == 0]).all()
    assert (result[amount == 255] != before[amount == 255]).mean() > 0.9


def masks() -> st.SearchStrategy[Image.Image]:
    """Masks of small sizes: noise, a few specks, or one value."""
    return st.builds(
        _mask,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.0, 0.01, 0.5, 1.0]),
        st.sampled_from([1, 255]),
    )


def _mask(cells: tuple[int, int], seed: int, painted: float, darkest: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    shape = (cells[1] * 8, cells[0] * 8)
    chosen = rng.integers(darkest, 256, shape) * (rng.random(shape) < painted)
    return Image.fromarray(chosen.astype(np.uint8))


OPTIONS = st.fixed_dictionaries(
    {
        "mask_grow": st.integers(-70, 70),
        "mask_blur": st.integers(0, 70),
        "mask_padding": st.none() | st.integers(0, 200),
    }
)


@settings(max_examples=60, deadline=None)
@given(mask=masks(), options=OPTIONS, inverted=st.booleans())
def test_any_mask_with_any_options_keeps_black_pixels(
    mask: Image.Image, options: dict[str, Any], *, inverted: bool
) -> None:
    changes = {**options, "mask_invert": inverted}
    init, generated = noise(mask.size, seed=1), noise(mask.size, seed=2)
    edited = pixels(edit_mask(mask, a_request(Endpoint.INPAINT, **changes)))
    if edited.max() < FAINT:
        with pytest.raises(InvalidImageError):
            canvas_for(init, mask, **changes)
        return
    canvas = canvas_for(init, mask, **changes)
    assert canvas.init is not None
    assert canvas.mask is not None
    assert (canvas.init.mode, canvas.mask.mode) == ("RGB", "L")
    assert canvas.init.size == canvas.mask.size == mask.size
    result = canvas.finish(generated)
    assert (result.mode, result.size) == ("RGB", mask.size)
    kept = edited == 0
    assert (pixels(result)[kept] == pixels(init)[kept]).all()
    assert same(init, noise(mask.size, seed=1))  # the input is not modified


@settings(max_examples=20, deadline=None)
@given(OPTIONS)
def test_a_mask_that_repaints_nothing_is_rejected(options: dict[str, Any]) -> None:
    for level, inverted in ((0, False), (FAINT - 1, False), (255, True)):
        mask = Image.new("L", SIZE, level)
        with pytest.raises(InvalidImageError, match=r"^mask_image: the mask repaints nothing"):
            canvas_for(noise(SIZE), mask, **options, mask_invert=inverted)


def test_a_mask_that_repaints_everything_is_accepted() -> None:
    for level, inverted in ((255, False), (0, True)):
        canvas = canvas_for(noise(SIZE), Image.new("L", SIZE, level), mask_invert=inverted)
        assert same(canvas.finish(noise(SIZE, seed=1)), noise(SIZE, seed=1))


def test_a_mask_that_is_shrunk_to_nothing_is_rejected() -> None:
    with pytest.raises(
        InvalidImageError, match="once the mask options are applied, it is completely black"
    ):
        canvas_for(noise(SIZE), dot(), mask_grow=-20)
