import gzip
import zlib

import pytest

from api.body.receiving.gzip import FREE_BYTES, MAX_MEMBERS, GzipReader
from api.body.receiving.spool import SMALL_BYTES
from api.errors.api_error import MalformedBodyError

TEXT = b"".join(b"%d," % number for number in range(40_000))


def decompress(data: bytes, size: int = 1000) -> bytes:
    reader = GzipReader()
    pieces = [
        piece for at in range(0, len(data), size) for piece in reader.feed(data[at : at + size])
    ]
    reader.finish()
    assert all(len(piece) <= SMALL_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
def test_gzip_data_are_decompressed_in_small_pieces(size: int) -> None:
    assert decompress(gzip.compress(TEXT), size) == TEXT


def test_several_members_are_one_body() -> None:
    assert decompress(gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b")) == b"ab"


def test_no_data_are_an_empty_body() -> None:
    assert decompress(b"") == b""


def test_a_small_body_may_have_any_ratio() -> None:
    assert decompress(gzip.compress(bytes(FREE_BYTES))) == bytes(FREE_BYTES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "The body is not valid gzip data."),
        (zlib.compress(b"{}"), "The body is not valid gzip data."),
        (gzip.compress(TEXT)[:-9], "The gzip data of the body end early."),
        (gzip.compress(TEXT)[:-1], "The gzip data of the body end early."),
        (gzip.compress(TEXT) + b"no gzip", "The body is not valid gzip data."),
        (
            gzip.compress(b"") * (MAX_MEMBERS + 1),
            f"The body has more than {MAX_MEMBERS} gzip members.",
        ),
        (
            gzip.compress(bytes(20 * FREE_BYTES)),
            "The gzip body expands to more than 100 times its size.",
        ),
    ],
)
def test_invalid_data_and_bombs_are_rejected(data: bytes, message: str) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        decompress(data)
    assert caught.value.message == message
