"""Convert images in any pixel format to 8-bit sRGB, or to 8-bit grey for masks."""

from functools import cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageCms

from worker.engine.images.mask_reading import read_mask

_HALF: Final = 128  # alpha between transparent and opaque
_SIXTEEN_BIT_MODES: Final = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` as 8-bit RGB in sRGB; transparent parts become white.

    Nearly every viewer shows transparent images on white, so the result is what the caller saw.
    """
    plain = _to_srgb(_to_eight_bit(image), image.info.get("icc_profile"))
    return _convert("RGB", _composite(plain, "white"))


def to_mask(image: Image.Image) -> Image.Image:
    """Return `image` as an 8-bit grey mask (mode L); see `read_mask` for transparent parts.

    A colour profile is not applied, because the grey values of a mask are amounts, not colours. An
    image of 16 bits whose levels all fit into 8 bits is read as 8 bits, because it would otherwise
    be black.
    """
    if image.mode in _SIXTEEN_BIT_MODES:
        levels = image.convert("I")
        if levels.point(_is_beyond_eight_bits(), "L").getbbox() is None:
            return read_mask(levels.convert("L"))
    return read_mask(_to_eight_bit(image))


def to_alpha_mask(image: Image.Image) -> Image.Image:
    """Return a mask (mode L) that is white where `image` is more transparent than opaque."""
    plain = _to_eight_bit(image)
    if plain.mode != "RGBA":
        return Image.new("L", plain.size, 0)
    return plain.getchannel("A").point([255 * (level < _HALF) for level in range(256)])


def to_own_mask(image: Image.Image) -> Image.Image:
    """Return the mask of `to_alpha_mask`, or an all white one if nothing is transparent."""
    mask = to_alpha_mask(image)
    return Image.new("L", mask.size, 255) if mask.getbbox() is None else mask


def _convert(mode: str, image: Image.Image) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Return `image` with 8 bits per channel, in mode L, RGB, RGBA or CMYK."""
    if image.mode in _SIXTEEN_BIT_MODES:
        # Pillow's own conversion clips at 255, which turns nearly all of the image white.
        return image.convert("I").point(_sixteen_to_eight(), "L")
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


@cache
def _sixteen_to_eight() -> list[int]:
    return [(pixel + 128) // 257 for pixel in range(1 << 16)]


@cache
def _is_beyond_eight_bits() -> list[int]:
    return [255 * (pixel > 255) for pixel in range(1 << 16)]  # noqa: PLR2004 eight bits


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return `image` converted from its colour profile to sRGB; a broken profile is ignored."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return image  # converting sRGB to itself would still change pixels by rounding
        converted = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            outputMode="RGBA" if image.mode == "RGBA" else "RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _composite(image: Image.Image, backdrop: str) -> Image.Image:
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, backdrop), image)
