"""Every pixel format is converted to the colours that viewers show."""

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.unit.worker.engine.sample_images import encoded, noise, same
from worker.engine.images.decode import decode_image, decode_mask

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """Return a profile of another name with red and blue exchanged."""
    profile = srgb_profile().replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    for one, other in ((b"rXYZ", b"bXYZ"), (b"rTRC", b"bTRC")):
        profile = profile.replace(one, b"<->!").replace(other, one).replace(b"<->!", other)
    return profile


def of(image: Image.Image, **options: Any) -> Image.Image:
    return decode_image(encoded(image, **options), "init_image")


def near(image: Image.Image, colour: tuple[int, int, int], tolerance: int = 3) -> bool:
    distance = np.abs(np.asarray(image).astype(int) - np.array(colour))
    return image.mode == "RGB" and int(distance.max()) <= tolerance


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    levels = np.array([[0, 257, 32_768, 65_535]], dtype=np.uint16)
    image = of(Image.fromarray(levels))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 128, 255]
    mask = decode_mask(encoded(Image.fromarray(levels)), "mask_image")
    assert np.asarray(mask).tolist() == [[0, 1, 128, 255]]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert near(decode_image(encoded(image, "JPEG", quality=100), "init_image"), RED)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_opaque_modes_become_rgb(mode: str) -> None:
    assert same(of(Image.new("RGB", (8, 8), WHITE).convert(mode)), Image.new("RGB", (8, 8), WHITE))


def transparent_palette() -> Image.Image:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, *BLUE])
    image.info["transparency"] = 0
    return image


def transparent_rgb() -> Image.Image:
    image = Image.new("RGB", (8, 8), RED)
    image.info["transparency"] = RED
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGBA", (8, 8), (255, 0, 0, 0)),
        Image.new("LA", (8, 8), (90, 0)),
        transparent_palette(),
        transparent_rgb(),
    ],
    ids=["RGBA", "LA", "palette", "one colour"],
)
def test_transparency_is_white_in_images_and_black_in_masks(image: Image.Image) -> None:
    assert near(of(image), WHITE, 0)
    assert decode_mask(encoded(image), "mask_image").getextrema() == (0, 0)


def test_half_transparency_blends_with_white() -> None:
    assert near(of(Image.new("RGBA", (8, 8), (255, 0, 0, 128))), (255, 127, 127), 1)


def test_strokes_on_a_transparent_layer_become_the_mask() -> None:
    layer = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    layer.putpixel((2, 3), (255, 255, 255, 255))
    mask = decode_mask(encoded(layer), "mask_image")
    assert mask.getpixel((2, 3)) == 255
    assert np.asarray(mask).sum() == 255


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_profile_is_applied(mode: str) -> None:
    red = Image.new("RGB", (8, 8), RED).convert(mode)
    assert near(of(red), RED)
    assert near(of(red, icc_profile=swapped_profile()), BLUE)


def test_srgb_profile_changes_no_pixel() -> None:
    image = noise()
    assert same(of(image, icc_profile=srgb_profile()), image)


@pytest.mark.parametrize(
    "profile",
    [
        b"nonsense",
        srgb_profile()[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ],
    ids=["nonsense", "cut off", "of another space"],
)
def test_a_profile_that_does_not_fit_is_ignored(profile: bytes) -> None:
    image = noise()
    assert same(of(image, icc_profile=profile), image)


def test_a_profile_does_not_change_a_mask() -> None:
    grey = Image.new("RGB", (8, 8), (40, 40, 40))
    mask = decode_mask(encoded(grey, icc_profile=swapped_profile()), "mask_image")
    assert mask.getextrema() == (40, 40)
