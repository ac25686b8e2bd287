"""Accepted and rejected image files, and the error messages."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from common.domain.errors import InvalidImageError
from tests.unit.worker.engine.sample_images import disc, encoded, noise, same
from worker.engine.images.decode import MAX_SCANS, decode_image, decode_mask

FLIPS = Image.Transpose


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and contains almost no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def many_scans() -> bytes:
    jpeg = encoded(noise(), "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * MAX_SCANS + jpeg[-2:]


def animated(kind: str) -> bytes:
    return encoded(noise(), kind, save_all=True, append_images=[noise(seed=1)])


REJECTED: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", lambda: b"", "the file is empty"),
    ("text", lambda: b"hello", "the file is not a PNG, JPEG or WebP image"),
    (
        "svg",
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "the file is not a PNG, JPEG or WebP image",
    ),
    ("gif", lambda: encoded(noise(), "GIF"), "the file is not a PNG, JPEG or WebP image"),
    ("tiff", lambda: encoded(noise(), "TIFF"), "the file is not a PNG, JPEG or WebP image"),
    ("bmp", lambda: encoded(noise(), "BMP"), "the file is not a PNG, JPEG or WebP image"),
    ("wav", lambda: b"RIFF\0\0\0\0WAVEfmt ", "the file is not a PNG, JPEG or WebP image"),
    ("signature alone", lambda: b"\x89PNG\r\n\x1a\n", "the image is damaged or cut off"),
    ("cut png", lambda: encoded(noise())[:-2000], "the image is damaged or cut off"),
    ("cut jpeg", lambda: encoded(noise(), "JPEG")[:-500], "the image is damaged or cut off"),
    ("cut webp", lambda: encoded(noise(), "WEBP")[:-500], "the image is damaged or cut off"),
    ("no width", lambda: png_header(0, 5), "the image is damaged or cut off"),
    (
        "30 megapixels",
        lambda: png_header(6000, 5000),
        "the image has 30.0 megapixels; at most 25 are accepted",
    ),
    (
        "bomb Pillow lets by",
        lambda: png_header(9460, 9458),
        "the image has 89.5 megapixels; at most 25 are accepted",
    ),
    (
        "bomb Pillow warns of",
        lambda: png_header(10_000, 10_000),
        "the image has more than 25 megapixels",
    ),
    (
        "bomb Pillow refuses",
        lambda: png_header(65_000, 65_000),
        "the image has more than 25 megapixels",
    ),
    (
        "wide",
        lambda: png_header(8193, 500),
        "the image has 8193×500 pixels; each side may have at most 8192 pixels",
    ),
    (
        "narrow",
        lambda: png_header(10, 201),
        "the image has 10×201 pixels; the long side may be at most 20 times the short side",
    ),
    ("apng", lambda: animated("PNG"), "the image is animated; send a single frame"),
    ("moving webp", lambda: animated("WEBP"), "the image is animated; send a single frame"),
    (
        "scans",
        many_scans,
        f"the progressive JPEG has more than {MAX_SCANS} scans; save it as a baseline JPEG or PNG",
    ),
]


@pytest.mark.parametrize(
    ("data", "reason"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED]
)
def test_the_error_names_the_field_and_the_reason(data: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(InvalidImageError) as image_error:
        decode_image(data(), "init_image")
    with pytest.raises(InvalidImageError) as mask_error:
        decode_mask(data(), "mask_image")
    assert image_error.value.message == f"init_image: {reason}"
    assert mask_error.value.message == f"mask_image: {reason}"


def test_more_bytes_than_allowed_are_rejected() -> None:
    data = encoded(noise())
    assert decode_image(data, "init_image", max_bytes=len(data))
    with pytest.raises(
        InvalidImageError, match=r"init_image: the file has 12,\d{3} bytes; at most 99 are accepted"
    ):
        decode_image(data, "init_image", max_bytes=99)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_accepted(kind: str) -> None:
    plain = Image.new("RGB", (40, 30), (200, 100, 50))
    image = decode_image(encoded(plain, kind), "init_image")
    assert (image.mode, image.size) == ("RGB", (40, 30))
    red, green, blue = image.resize((1, 1)).tobytes()
    assert abs(red - 200) + abs(green - 100) + abs(blue - 50) < 8


@pytest.mark.parametrize("size", [(8192, 410), (10, 200), (1, 1)])
def test_images_at_the_limits_are_accepted(size: tuple[int, int]) -> None:
    assert decode_image(encoded(Image.new("RGB", size)), "init_image").size == size


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, FLIPS.FLIP_LEFT_RIGHT),
        (3, FLIPS.ROTATE_180),
        (4, FLIPS.FLIP_TOP_BOTTOM),
        (5, FLIPS.TRANSPOSE),
        (6, FLIPS.ROTATE_90),
        (7, FLIPS.TRANSVERSE),
        (8, FLIPS.ROTATE_270),
        (9, None),
    ],
)
def test_the_exif_orientation_is_applied(orientation: int, stored: Image.Transpose | None) -> None:
    upright = noise((24, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = upright if stored is None else upright.transpose(stored)
    assert same(decode_image(encoded(lying, exif=exif), "init_image"), upright)


def test_broken_exif_is_ignored() -> None:
    image = noise()
    data = encoded(image, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken")
    assert same(decode_image(data, "init_image"), image)


def test_the_first_image_of_an_mpo_file_is_used() -> None:
    data = encoded(
        Image.new("RGB", (32, 32), "white"),
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", (32, 32), "black")],
    )
    with Image.open(BytesIO(data)) as pair:
        assert (pair.format, getattr(pair, "n_frames", 1)) == ("MPO", 2)
    assert same(decode_image(data, "init_image"), Image.new("RGB", (32, 32), "white"))


def test_a_mask_is_grey() -> None:
    assert same(decode_mask(encoded(disc().convert("RGB")), "mask_image"), disc())


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_complete(missing: int, *, progressive: bool) -> None:
    data = encoded(noise(), "JPEG", progressive=progressive)
    image = decode_image(data[:-missing], "init_image")
    assert same(image, decode_image(data, "init_image"))


@pytest.mark.parametrize("missing", [4, 8, 40, 400, 2_000])
@pytest.mark.parametrize("seed", range(5))
def test_a_jpeg_without_its_last_pixels_is_rejected(missing: int, seed: int) -> None:
    data = encoded(noise(seed=seed), "JPEG")
    with pytest.raises(InvalidImageError, match="damaged or cut off"):
        decode_image(data[:-missing], "init_image")


def test_a_png_without_its_end_is_complete() -> None:
    assert same(decode_image(encoded(noise())[:-12], "init_image"), noise())
