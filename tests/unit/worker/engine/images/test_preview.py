"""A preview is small, whatever it shows."""

from io import BytesIO

from PIL import Image

from tests.unit.worker.engine.sample_images import noise
from worker.engine.images.preview import LONGEST_SIDE, encode_preview


def test_a_preview_is_a_small_jpeg_of_the_same_shape() -> None:
    preview = encode_preview(noise((512, 256)))
    shown = Image.open(BytesIO(preview))
    assert (shown.format, shown.mode) == ("JPEG", "RGB")
    assert shown.size == (LONGEST_SIDE, LONGEST_SIDE // 2)


def test_mere_noise_is_a_few_kilobytes() -> None:
    assert len(encode_preview(noise((LONGEST_SIDE, LONGEST_SIDE)))) < 8_000


def test_a_small_image_stays_as_it_is() -> None:
    image = Image.new("RGB", (8, 8), "teal")
    assert Image.open(BytesIO(encode_preview(image))).size == (8, 8)
    assert image.size == (8, 8)
