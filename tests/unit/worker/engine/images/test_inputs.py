"""Input images of a request."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from common.domain.errors import InvalidImageError
from common.domain.generation import Endpoint
from tests.unit.worker.engine.sample_images import disc, encoded, noise, same
from worker.engine.images.inputs import MODES, InputImages, image_fields, read_image

INIT, MASK = encoded(noise()), encoded(disc())
AS_IT_IS = (64, 64)


def test_each_endpoint_has_its_input_fields() -> None:
    assert {endpoint: image_fields(endpoint) for endpoint in Endpoint} == {
        Endpoint.INPAINT: ("init_image", "mask_image"),
        Endpoint.IMG2IMG: ("init_image",),
        Endpoint.TEXT2IMG: (),
    }


def test_images_are_assigned_by_field() -> None:
    init, mask = noise(), disc()
    assert InputImages.of({}) == InputImages(None, None)
    assert InputImages.of({"mask_image": mask, "init_image": init}) == InputImages(init, mask)


def test_images_of_the_right_size_are_unchanged() -> None:
    assert same(read_image(INIT, "init_image", AS_IT_IS), noise())
    assert same(read_image(MASK, "mask_image", AS_IT_IS), disc())


def test_other_sizes_are_resized() -> None:
    init = read_image(INIT, "init_image", (72, 128))
    mask = read_image(encoded(disc((200, 100))), "mask_image", (72, 128))
    assert init.size == mask.size == (72, 128)
    assert mask.getextrema() == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_the_mode_depends_on_the_field_alone(mode: str) -> None:
    data = encoded(Image.new("L", (8, 8)).convert(mode))
    for field, wanted in MODES.items():
        assert read_image(data, field, AS_IT_IS).mode == wanted


def test_jpeg_noise_in_a_mask_repaints_nothing() -> None:
    data = encoded(disc(), "JPEG", quality=75)
    noisy = np.asarray(Image.open(BytesIO(data)))
    nearly_black, nearly_white = noisy < 16, noisy > 239
    assert noisy[nearly_black].any()  # otherwise this shows nothing
    mask = np.asarray(read_image(data, "mask_image", AS_IT_IS))
    assert not mask[nearly_black].any()
    assert (mask[nearly_white] == 255).all()


@pytest.mark.parametrize("field", MODES)
def test_the_byte_limit_holds_for_both(field: str) -> None:
    with pytest.raises(InvalidImageError, match=rf"^{field}: .* at most 99 are accepted$"):
        read_image(INIT, field, AS_IT_IS, max_bytes=99)
