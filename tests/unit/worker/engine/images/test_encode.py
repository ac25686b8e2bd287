"""Encoded files contain exactly the image's pixels and nothing else."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from common.domain.generation import ImageFormat
from tests.unit.worker.engine.images.test_colour import srgb_profile
from tests.unit.worker.engine.sample_images import encoded, noise, same
from worker.engine.images.decode import decode_image
from worker.engine.images.encode import LONGEST_SIDE, encode_image, encode_png, encode_preview


def ramp(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Return a smooth image with different channels that wraps around from 255 to 0."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    channels = (columns * 5, rows * 7, 255 - columns * 3 - rows)
    return Image.fromarray(np.stack(channels, 2).astype(np.uint8))


@pytest.mark.parametrize(
    "image",
    [noise(), ramp(), Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "white")],
    ids=["noise", "ramp", "black", "white"],
)
def test_pixels_survive_encoding(image: Image.Image) -> None:
    assert same(decode_image(encode_png(image), "init_image"), image)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 33), st.integers(1, 33), st.integers(0, 9))
def test_pixels_of_any_size_survive(width: int, height: int, seed: int) -> None:
    image = noise((width, height), seed)
    with Image.open(BytesIO(encode_png(image))) as read:
        assert read.format == "PNG"
        assert same(read.copy(), image)


def test_other_modes_are_rejected() -> None:
    for mode in ("L", "RGBA"):
        with pytest.raises(ValueError, match="reshape"):
            encode_png(Image.new(mode, (8, 8)))


def test_uniform_areas_are_few_bytes() -> None:
    assert len(encode_png(Image.new("RGB", (512, 512), "navy"))) < 6_000
    assert len(encode_png(ramp((256, 256)))) < 256 * 256 * 3 / 3


def test_no_metadata_of_the_input_is_written() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = encoded(noise(), pnginfo=text, exif=exif, icc_profile=srgb_profile(), dpi=(300, 300))
    written = encode_png(decode_image(data, "init_image"))
    with Image.open(BytesIO(written)) as image:
        assert image.info == {}
    assert written == encode_png(noise())


def test_a_preview_is_a_small_jpeg_of_the_same_shape() -> None:
    preview = encode_preview(noise((512, 256)))
    shown = Image.open(BytesIO(preview))
    assert (shown.format, shown.mode) == ("JPEG", "RGB")
    assert shown.size == (LONGEST_SIDE, LONGEST_SIDE // 2)


def test_noise_is_a_few_kilobytes() -> None:
    assert len(encode_preview(noise((LONGEST_SIDE, LONGEST_SIDE)))) < 8_000


def test_a_small_image_keeps_its_size() -> None:
    image = Image.new("RGB", (8, 8), "teal")
    assert Image.open(BytesIO(encode_preview(image))).size == (8, 8)
    assert image.size == (8, 8)


@pytest.mark.parametrize("image_format", ImageFormat)
def test_an_image_is_encoded_in_the_format_of_its_request(image_format: ImageFormat) -> None:
    best, small = (encode_image(ramp(), image_format, quality) for quality in (100, 10))
    opened = Image.open(BytesIO(best))
    assert (opened.format, opened.size) == (image_format.upper(), (64, 64))
    difference = np.abs(np.asarray(opened.convert("RGB"), int) - np.asarray(ramp(), int))
    assert difference.mean() < 8
    assert len(small) < len(best) or image_format is ImageFormat.PNG
