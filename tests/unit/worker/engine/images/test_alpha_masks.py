"""Masks that are read by their transparency alone, whatever their visible parts show."""

import numpy as np
import pytest
from PIL import Image

from common.domain.generation import Endpoint
from tests.unit.worker.engine.sample_images import encoded, noise
from worker.engine.images.inputs import image_fields, mask_field, read_image

SIZE = (64, 64)


def holed(colour: str | Image.Image) -> Image.Image:
    """Return an opaque image with a transparent square at the upper left."""
    base = Image.new("RGB", SIZE, colour) if isinstance(colour, str) else colour
    image = base.convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 32))
    return image


@pytest.mark.parametrize("colour", ["white", "black", noise()], ids=["white", "black", "photo"])
@pytest.mark.parametrize("field", ["alpha_mask", "own_mask"])
def test_transparent_parts_are_repainted_and_opaque_parts_are_kept(
    field: str, colour: str | Image.Image
) -> None:
    mask = np.asarray(read_image(encoded(holed(colour)), field, SIZE))
    assert (mask[:32, :32] == 255).all()
    assert not mask[32:].any()
    assert not mask[:, 32:].any()


def test_of_partly_transparent_pixels_the_more_transparent_ones_are_repainted() -> None:
    image = Image.new("RGBA", SIZE, (0, 0, 0, 127))
    image.paste((0, 0, 0, 128), (0, 0, 64, 32))
    mask = np.asarray(read_image(encoded(image), "alpha_mask", SIZE))
    assert not mask[:32].any()
    assert (mask[32:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_an_opaque_mask_repaints_nothing_and_an_opaque_image_is_repainted_wholly(
    mode: str,
) -> None:
    data = encoded(Image.new("RGB", SIZE, "white").convert(mode))
    assert read_image(data, "alpha_mask", SIZE).getextrema() == (0, 0)
    assert read_image(data, "own_mask", SIZE).getextrema() == (255, 255)


def test_a_job_has_the_kind_of_mask_that_is_among_its_inputs() -> None:
    assert mask_field(("init_image", "own_mask")) == "own_mask"
    assert mask_field(("init_image",)) == "mask_image"
    assert image_fields(Endpoint.INPAINT, "alpha_mask") == (
        "init_image",
        "alpha_mask",
    )
