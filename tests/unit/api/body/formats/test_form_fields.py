from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from api.body.formats.form_fields import LONG_BYTES, FormText, parse_form
from api.body.receiving.spool import BLOCK_BYTES, LongValue
from api.errors.api_error import MalformedBodyError
from tests.support.bodies import open_spool

BASE64 = "ab+/" * BLOCK_BYTES + "+A=="


async def parse(body: bytes) -> dict[str, Any]:
    """Parse a form; values are read as base64."""
    async with open_spool(body) as spool:
        return {name: as_base64(value) for name, value in parse_form(spool).items()}


def as_base64(value: LongValue | FormText) -> str:
    if isinstance(value, FormText):
        return value.base64_text
    assert value.length > LONG_BYTES
    return b"".join(value.blocks()).decode()


@pytest.mark.parametrize("length", [100, 4 * BLOCK_BYTES])
@pytest.mark.parametrize("encode", [quote_plus, quote, str])
async def test_base64_is_read_however_the_form_escapes_it(length: int, encode: Any) -> None:
    text = BASE64[:length]
    assert await parse(b"a=1&image=" + encode(text).encode() + b"&b=") == {
        "a": "1",
        "image": text,
        "b": "",
    }


@pytest.mark.parametrize("shift", range(4))
async def test_an_escape_at_the_edge_of_a_block_is_whole(shift: int) -> None:
    text = "x" * (BLOCK_BYTES - shift)
    assert await parse(f"a={text}%2F%2F%3Dy".encode()) == {"a": f"{text}//=y"}


async def test_a_blank_beside_escaped_plus_signs_is_a_blank() -> None:
    assert await parse(b"a=A%2BA+A&b=A%20A+A") == {"a": "A+A A", "b": "A A+A"}


async def test_every_escape_is_decoded() -> None:
    escapes = "".join(f"%{number:02x}%{number:02X}" for number in range(33, 127))
    text = "".join(chr(number) * 2 for number in range(33, 127))
    assert await parse(f"a={escapes * 100}".encode()) == {"a": text * 100}


async def test_a_byte_order_mark_and_empty_fields_are_skipped() -> None:
    assert await parse(b"\xef\xbb\xbf&a=1&&b&=2&") == {"a": "1", "b": "", "": "2"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"a=%FF", "The form is not UTF-8 text."),
        (b"%FF=a", "The form is not UTF-8 text."),
        (b"x" * 1001 + b"=1", "A name in the form is longer than 1000 bytes."),
        (b"x" * 1001, "A name in the form is longer than 1000 bytes."),
    ],
)
async def test_malformed_forms_are_rejected(body: bytes, message: str) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        await parse(body)
    assert caught.value.message == message
