"""Whatever the bytes, an image or an InvalidImageError comes out, nothing else."""

import struct
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from common.domain.errors import InvalidImageError
from tests.unit.worker.generation.pictures import encoded, noise
from tests.unit.worker.generation.test_colour import srgb_profile
from worker.generation.decode import decode_image, decode_mask

EXIF = Image.Exif()
EXIF[0x0112] = 6
RICH: dict[str, Any] = {"icc_profile": srgb_profile(), "exif": EXIF}
SMALL = noise((12, 10))
SEEDS = [
    encoded(SMALL, **RICH),
    encoded(SMALL.convert("P"), transparency=3),
    encoded(SMALL.convert("I;16")),
    encoded(SMALL, "JPEG", **RICH),
    encoded(SMALL.convert("CMYK"), "JPEG", progressive=True),
    encoded(SMALL.convert("RGBA"), "WEBP", lossless=True, **RICH),
    encoded(SMALL, "WEBP"),
]


def survives(data: bytes) -> None:
    for decode, mode in ((decode_image, "RGB"), (decode_mask, "L")):
        try:
            image = decode(data, "field")
        except InvalidImageError:
            continue
        assert image.mode == mode


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    start, length = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
    data[start : start + length] = draw(st.binary(max_size=40))
    return bytes(data[: draw(st.integers(len(data) // 2, len(data)))])


@st.composite
def png_of_odd_chunks(draw: st.DrawFn) -> bytes:
    """Chunks with right checksums, which random damage hardly ever makes."""
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(
        ">IIBBBBB", *(draw(st.integers(0, 40)) for _ in range(3)), *draw(st.tuples(*[KIND] * 4))
    )
    names = st.sampled_from(
        [b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"IDAT", b"zTXt"]
    )
    body = st.binary(max_size=60) | st.binary(max_size=200).map(zlib.compress)
    chunks = [(b"IHDR", header), *draw(st.lists(st.tuples(names, body), max_size=6))]
    for name, content in [*chunks, (b"IEND", b"")]:
        checksum = zlib.crc32(name + content)
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return data


KIND = st.integers(0, 6)


@given(damaged())
def test_damaged_files(data: bytes) -> None:
    survives(data)


@given(png_of_odd_chunks())
def test_odd_chunks(data: bytes) -> None:
    survives(data)


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP"]), st.binary())
def test_noise_after_a_signature(signature: bytes, rest: bytes) -> None:
    survives(signature + rest)
