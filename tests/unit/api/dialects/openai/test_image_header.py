"""Headers of image files agree with what Pillow reads."""

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from api.dialects.openai.image_header import ImageHeader, read_image_header
from common.domain.generation import ImageFormat

SIZE = (40, 24)


def encoded(mode: str, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new(mode, SIZE).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded("RGB", "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (encoded("RGB", "PNG"), ImageHeader(ImageFormat.PNG, *SIZE)),
        (encoded("L", "PNG"), ImageHeader(ImageFormat.PNG, *SIZE)),
        (encoded("RGBA", "PNG"), ImageHeader(ImageFormat.PNG, *SIZE, has_alpha=True)),
        (encoded("LA", "PNG"), ImageHeader(ImageFormat.PNG, *SIZE, has_alpha=True)),
        (
            encoded("P", "PNG", transparency=0),
            ImageHeader(ImageFormat.PNG, *SIZE, has_alpha=True),
        ),
        (encoded("P", "PNG"), ImageHeader(ImageFormat.PNG, *SIZE)),
        (encoded("RGB", "JPEG"), ImageHeader(ImageFormat.JPEG, *SIZE)),
        (encoded("RGB", "JPEG", progressive=True), ImageHeader(ImageFormat.JPEG, *SIZE)),
        (turned(3), ImageHeader(ImageFormat.JPEG, *SIZE)),
        (turned(6), ImageHeader(ImageFormat.JPEG, SIZE[1], SIZE[0])),
        (encoded("RGB", "WEBP"), ImageHeader(ImageFormat.WEBP, *SIZE)),
        (encoded("RGB", "WEBP", lossless=True), ImageHeader(ImageFormat.WEBP, *SIZE)),
        (
            encoded("RGBA", "WEBP", lossless=True, exact=True),
            ImageHeader(ImageFormat.WEBP, *SIZE, has_alpha=True),
        ),
        (encoded("RGBA", "WEBP"), ImageHeader(ImageFormat.WEBP, *SIZE, has_alpha=True)),
    ],
)
def test_headers(data: bytes, header: ImageHeader) -> None:
    assert read_image_header(BytesIO(data)) == header
    for length in range(24):
        assert read_image_header(BytesIO(data[:length])) is None


@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF1234WEBP"]), st.binary())
def test_any_bytes_are_a_header_or_none(start: bytes, rest: bytes) -> None:
    header = read_image_header(BytesIO(start + rest))
    assert header is None or header.format in ImageFormat


def test_a_chain_of_parts_without_an_end_is_given_up() -> None:
    jpeg = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000
    file = BytesIO(jpeg)
    assert read_image_header(file) is None
    assert file.tell() < 10_000
