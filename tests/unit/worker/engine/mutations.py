"""Malformed image files: PNG, JPEG and WebP, taken apart and reassembled with mutations.

Random damage rarely gets past the first checksum, so files are also mutated part by part, with
correct lengths and checksums.
"""

import struct
import zlib
from functools import partial
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from tests.unit.worker.engine.images.test_colour import srgb_profile, swapped_profile
from tests.unit.worker.engine.sample_images import encoded, noise

# A part of a file: what it is called, and what it holds.
Part = tuple[bytes, bytes]

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
EXIF = Image.Exif()
EXIF[0x0112] = 6
EXIF[0x010E] = "a cat"
RICH: dict[str, Any] = {"icc_profile": swapped_profile(), "exif": EXIF}
SMALL = noise((12, 10))
MOVING: dict[str, Any] = {"save_all": True, "append_images": [noise((12, 10), seed=1)]}

SEEDS = [
    encoded(SMALL, **RICH),
    encoded(SMALL.convert("RGBA"), icc_profile=srgb_profile()),
    encoded(SMALL.convert("LA"), **RICH),
    encoded(SMALL.convert("P"), transparency=3),
    encoded(SMALL.convert("P", palette=Image.Palette.ADAPTIVE, colors=7), bits=4),
    encoded(SMALL.convert("1")),
    encoded(SMALL.convert("I;16"), exif=EXIF),
    encoded(SMALL, **MOVING),
    encoded(SMALL, "JPEG", **RICH),
    encoded(SMALL, "JPEG", progressive=True, subsampling=0, restart_marker_blocks=1),
    encoded(SMALL.convert("L"), "JPEG", comment=b"a cat"),
    encoded(SMALL.convert("CMYK"), "JPEG", progressive=True, **RICH),
    encoded(SMALL, "MPO", **MOVING),
    encoded(SMALL, "WEBP", **RICH, xmp=b"<x/>"),
    encoded(SMALL.convert("RGBA"), "WEBP", lossless=True, **RICH),
    encoded(SMALL.convert("RGBA"), "WEBP", alpha_quality=20),
    encoded(SMALL, "WEBP", **MOVING),
]

# Lengths and sizes of hostile files.
ODD_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31]
FORMS = ["B", ">H", "<H", ">I", "<I"]


def split_file(data: bytes) -> list[Part]:
    """Split a valid file into its parts."""
    if data.startswith(PNG):
        return _chunks(data[8:], ">I4s", padded=False)
    if data.startswith(JPEG):
        return _segments(data[2:])
    return _chunks(data[12:], "<4sI", padded=True)


def _chunks(rest: bytes, head: str, *, padded: bool) -> list[Part]:
    parts = []
    while rest:
        one, other = struct.unpack(head, rest[:8])
        name, length = (one, other) if padded else (other, one)
        parts.append((name, rest[8 : 8 + length]))
        rest = rest[8 + length + (length % 2 if padded else 4) :]
    return parts


def _segments(rest: bytes) -> list[Part]:
    """Split a JPEG; the compressed pixels belong to the segment that starts their scan."""
    parts = []
    while len(rest) >= 4:
        length = struct.unpack(">H", rest[2:4])[0]
        end = 2 + length
        if rest[1] == 0xDA:
            while end < len(rest) - 1 and not (rest[end] == 0xFF and rest[end + 1] >= 0xD8):
                end += 1
        parts.append((rest[:2], rest[4:end]))
        rest = rest[end:]
    return parts


def join_file(kind: bytes, parts: list[Part]) -> bytes:
    """Assemble a file from parts, with correct lengths and checksums."""
    if kind == PNG:
        chunks = (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in parts
        )
        return PNG + b"".join(chunks)
    if kind == JPEG:
        return JPEG + b"".join(_segment(name, body) for name, body in parts) + b"\xff\xd9"
    chunks = (
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in parts
    )
    riff = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(riff)) + riff


def _segment(name: bytes, body: bytes) -> bytes:
    length = 2 + (body[0] * 2 + 4 if name == b"\xff\xda" and body else len(body))
    return name + struct.pack(">H", min(length, 0xFFFF)) + body


PARTS = [(data[:8] if data.startswith(PNG) else data[:2], split_file(data)) for data in SEEDS]
ALL_PARTS = [part for _, parts in PARTS for part in parts]


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Flip, overwrite, insert, repeat and delete bytes."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["flip", "number", "insert", "repeat", "delete", "cut"])):
            case "flip" if start < len(changed):
                changed[start] ^= 1 << draw(st.integers(0, 7))
            case "number":
                form = draw(st.sampled_from(FORMS))
                size = struct.calcsize(form)
                number = draw(st.sampled_from(ODD_NUMBERS)) % (1 << 8 * size)
                changed[start : start + size] = struct.pack(form, number)
            case "insert":
                changed[start:start] = draw(st.binary(max_size=20))
            case "repeat":
                changed[start:start] = changed[start : start + draw(st.integers(1, 60))]
            case "delete":
                del changed[start : start + draw(st.integers(1, 30))]
            case "cut" if draw(st.booleans()):
                del changed[max(start, len(changed) // 2) :]
    return bytes(changed)


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A file whose checksums no longer match."""
    return draw(damaged(draw(st.sampled_from(SEEDS))))


@st.composite
def rebuilt_files(draw: st.DrawFn) -> bytes:
    """Parts mutated, repeated, dropped, swapped and mixed between files, with correct checksums."""
    kind, sound = draw(st.sampled_from(PARTS))
    parts = list(sound)
    for _ in range(draw(st.integers(1, 4))):
        index = draw(st.integers(0, len(parts) - 1)) if parts else 0
        match draw(st.sampled_from(["damage", "repeat", "drop", "swap", "splice", "stuff"])):
            case "damage" if parts:
                parts[index] = (parts[index][0], draw(damaged(parts[index][1])))
            case "repeat" if parts:
                parts[index:index] = [parts[index]] * draw(st.sampled_from([1, 2, 50]))
            case "drop" if parts:
                del parts[index]
            case "swap" if parts:
                other = draw(st.integers(0, len(parts) - 1))
                parts[index], parts[other] = parts[other], parts[index]
            case "splice":
                parts.insert(index, draw(st.sampled_from(ALL_PARTS)))
            case "stuff":
                name = draw(st.sampled_from([part[0] for part in ALL_PARTS] + RARE))
                parts.insert(index, (name, draw(garbage())))
    return join_file(kind, parts)


# Parts that the seeds have none of.
RARE = [b"zTXt", b"iTXt", b"tEXt", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"sBIT", b"hIST", b"fdAT"]


def garbage() -> st.SearchStrategy[bytes]:
    """Contents for a part: noise, compressed noise, long runs, broken EXIF and profiles."""
    return st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=200).map(zlib.compress),
        st.integers(0, 200_000).map(lambda length: b"x\0\0" + zlib.compress(bytes(length))),
        damaged(b"Exif\0\0" + EXIF.tobytes()),
        damaged(swapped_profile()).map(lambda profile: b"ICC_PROFILE\0\1\1" + profile),
        damaged(swapped_profile()).map(lambda profile: b"icc\0\0" + zlib.compress(profile)),
    )


@st.composite
def any_header(draw: st.DrawFn) -> bytes:
    """A PNG with any header: colour types, depths and interlacing that no seed file has."""
    side = st.integers(0, 40) | st.sampled_from(ODD_NUMBERS)
    depth, colour = draw(st.sampled_from([1, 2, 4, 8, 16, 3])), draw(st.integers(0, 7))
    header = (draw(side), draw(side), depth, colour, 0, 0, draw(st.integers(0, 2)))
    length = draw(st.integers(0, 8000))
    between = st.sampled_from([b"PLTE", b"tRNS", b"iCCP"])
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", *header)),
        *draw(st.lists(st.tuples(between, garbage()), max_size=3)),
        (b"IDAT", zlib.compress(draw(st.binary(max_size=40)) + bytes(length))),
        (b"IEND", b""),
    ]
    return join_file(PNG, parts)


signed_noise = partial(
    st.builds,
    lambda signature, rest: signature + rest,
    st.sampled_from([PNG, b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP", b"RIFF\x20\0\0\0WEBPVP8X"]),
    st.binary(max_size=300),
)

# Every kind, by name.
KINDS: dict[str, st.SearchStrategy[bytes]] = {
    "damaged files": damaged_files(),
    "rebuilt files": rebuilt_files(),
    "odd headers": any_header(),
    "noise after a signature": signed_noise(),
}
