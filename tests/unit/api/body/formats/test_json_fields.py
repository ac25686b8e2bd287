import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.body.formats.json_fields import LONG_BYTES, MAX_SKELETON_BYTES, parse_json
from api.body.receiving.spool import BLOCK_BYTES, SMALL_BYTES, LongValue
from api.errors.api_error import MalformedBodyError
from tests.support.bodies import open_spool, parse_content

LONG = "A" * (2 * BLOCK_BYTES + 5)
COMMA = "JSON allows no comma after the last entry of an object or array."
CONTROL = "write it as an escape sequence, such as \\n for a line end."
TOO_LONG = (
    f"The JSON is too large: without strings of over {LONG_BYTES} bytes, it exceeds "
    f"{MAX_SKELETON_BYTES} bytes."
)


def in_memory(value: Any) -> Any:
    """Replace long values by the text that they hold."""
    if isinstance(value, LongValue):
        return b"".join(value.blocks()).decode()
    if isinstance(value, dict):
        return {name: in_memory(entry) for name, entry in value.items()}
    return [in_memory(entry) for entry in value] if isinstance(value, list) else value


async def parse(body: bytes) -> Any:
    async with open_spool(body) as spool:
        return in_memory(parse_json(spool))


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": 'a "cat" \\', "init_image": LONG, "mask_image": LONG + "B", "seed": 5},
        {"a": {"b": [LONG, {"c": LONG}]}, "d": None},
        {"text": "ä\u2028\U0001f600/" * BLOCK_BYTES},
        {"escapes": '"\\\n' * BLOCK_BYTES},
        {"backslashes": "\\" * BLOCK_BYTES, "end": True},
        {"strings": ["x" * LONG_BYTES] * 20},
        {},
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
async def test_long_strings_are_left_in_the_spool(value: Any, *, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    padded = b"\xef\xbb\xbf" + b" " * SMALL_BYTES + body + b"\n"
    if "text" in value and ascii_only:
        return  # a pair of escapes may be cut apart; base64 contains none
    assert await parse(padded) == value


async def test_escapes_that_programs_write_in_base64_are_read() -> None:
    sent = b'{"image": "%s"}' % (b"AA\\/\\u002B\\u003d\\n" * 20_000)
    assert await parse(sent) == {"image": "AA/+=\n" * 20_000}


@given(st.integers(0, 12), st.sampled_from(["/", "\u002b", "\n", '"', "\\"]))
async def test_an_escape_at_the_edge_of_a_block_is_whole(shift: int, character: str) -> None:
    text = "x" * (BLOCK_BYTES - shift) + character * 4 + "y"
    body = json.dumps({"a": text}).replace("/", "\\/").replace("+", "\\u002b").encode()
    assert await parse(body) == {"a": text}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            f'{{"a": "{LONG}",\n "b": "{LONG}", "c": 1,}}',
            f"There is a trailing comma at line 2, column {len(LONG) + 17}: {COMMA}",
        ),
        (
            f'{{"a": "{LONG}", "b": x}}',
            f"The JSON is invalid at line 1, column {len(LONG) + 16}: Expecting value.",
        ),
        (
            f'{{"a": "{LONG}',
            "The string that starts at line 1, column 7 has no closing quotation mark.",
        ),
        (
            f'{{"a": "{LONG}\\',
            "The string that starts at line 1, column 7 has no closing quotation mark.",
        ),
        (
            f'{{"a": "{LONG}\n"}}',
            f"A string contains a control character at byte {len(LONG) + 8}: {CONTROL}",
        ),
        (f'{{"{LONG}": 1}}', f"A name in the JSON is longer than {LONG_BYTES} bytes."),
        (f'["{LONG}"]', "The body must be a JSON object: { … }."),
        (
            '{"a": ' + "1" * (MAX_SKELETON_BYTES + 9),
            TOO_LONG,
        ),
    ],
)
async def test_a_large_malformed_body_is_rejected_with_the_position(
    body: str, message: str
) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        await parse(body.encode())
    assert caught.value.message == message


async def test_a_byte_order_mark_is_skipped() -> None:
    assert await parse_content(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert await parse_content(b"\xef\xbb\xbf") == {}


async def test_text_that_is_not_utf8_is_rejected() -> None:
    with pytest.raises(MalformedBodyError, match=r"^The body is not UTF-8 text: byte 1 is inv"):
        await parse_content(orjson.dumps({"a": 1}).decode().encode("utf-16"))
