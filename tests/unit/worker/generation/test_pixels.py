"""What a request works on."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from common.domain.errors import InvalidImageError
from common.domain.generation import Endpoint
from tests.unit.worker.generation.pictures import a_request, disc, encoded, noise, same
from worker.generation.pixels import Pixels, read_pixels

INIT, MASK = encoded(noise()), encoded(disc())


def test_each_endpoint_reads_what_it_works_on() -> None:
    inpaint, img2img, text2img = (
        read_pixels(a_request(endpoint), init_image=INIT, mask_image=MASK) for endpoint in Endpoint
    )
    assert inpaint.init
    assert inpaint.mask
    assert img2img.init
    assert img2img.mask is None
    assert text2img == Pixels()


def test_pictures_of_the_right_size_stay_as_they_are() -> None:
    pixels = read_pixels(a_request(Endpoint.INPAINT), init_image=INIT, mask_image=MASK)
    assert pixels.init
    assert pixels.mask
    assert same(pixels.init, noise())
    assert same(pixels.mask, disc())


def test_others_are_stretched() -> None:
    request = a_request(Endpoint.INPAINT, width=72, height=128)
    pixels = read_pixels(request, init_image=INIT, mask_image=encoded(disc((200, 100))))
    assert pixels.init
    assert pixels.mask
    assert pixels.init.size == pixels.mask.size == (72, 128)
    assert pixels.mask.getextrema() == (0, 255)


def test_a_jpeg_mask_s_noise_repaints_nothing() -> None:
    data = encoded(disc(), "JPEG", quality=75)
    noisy = np.asarray(Image.open(BytesIO(data)))
    nearly_black, nearly_white = noisy < 16, noisy > 239
    assert noisy[nearly_black].any()  # otherwise this shows nothing
    mask = read_pixels(a_request(Endpoint.INPAINT), init_image=INIT, mask_image=data).mask
    assert not np.asarray(mask)[nearly_black].any()
    assert (np.asarray(mask)[nearly_white] == 255).all()


@pytest.mark.parametrize(
    ("endpoint", "given", "field"),
    [
        (Endpoint.INPAINT, {"mask_image": MASK}, "init_image"),
        (Endpoint.INPAINT, {"init_image": INIT}, "mask_image"),
        (Endpoint.IMG2IMG, {}, "init_image"),
    ],
)
def test_a_missing_picture_is_named(
    endpoint: Endpoint, given: dict[str, bytes], field: str
) -> None:
    with pytest.raises(InvalidImageError, match=f"^{field}: an image is needed$"):
        read_pixels(
            a_request(endpoint),
            init_image=given.get("init_image"),
            mask_image=given.get("mask_image"),
        )


def test_the_byte_limit_holds_for_both() -> None:
    request = a_request(Endpoint.INPAINT)
    with pytest.raises(InvalidImageError, match=r"^init_image"):
        read_pixels(request, init_image=INIT, mask_image=MASK, max_bytes=len(INIT) - 1)
    with pytest.raises(InvalidImageError, match=r"^mask_image"):
        read_pixels(request, init_image=MASK, mask_image=INIT, max_bytes=len(INIT) - 1)
