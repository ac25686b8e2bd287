from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.body.json_errors import read_lenient_json
from api.errors.api_error import MalformedBodyError

COMMA = "JSON allows no comma after the last entry of an object or array."
CONTROL = "write it as an escape sequence, such as \\n for a line end."


def tip(body: bytes) -> str:
    with pytest.raises(MalformedBodyError) as caught:
        read_lenient_json(body)
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b'{"a": 1,}', "line 1, column 8"),
        (b'{\n  "a": 1,\n  "b": null,  \n  \n}', "line 3, column 12"),
        (b'{"a": [1, 2, ], "b": 1}', "line 1, column 12"),
        ('{"ä": "ß",}'.encode(), "line 1, column 10"),
        (b"[,]", "line 1, column 2"),
    ],
)
def test_a_trailing_comma_is_reported_with_line_and_column(body: bytes, position: str) -> None:
    assert tip(body) == f"There is a trailing comma at {position}: {COMMA}"


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b'{"a" 1}', "The JSON is invalid at line 1, column 6: Expecting ':' delimiter."),
        (b'{"a": 1}}', "The JSON is invalid at line 1, column 9: Extra data."),
        (b'{"a":\n', "The JSON is invalid at line 2, column 1: Expecting value."),
        (
            b'{"a": "\n"}',
            f"The string contains a control character at line 1, column 8: {CONTROL}",
        ),
        (
            b'{"a": "b}',
            "The string that starts at line 1, column 7 has no closing quotation mark.",
        ),
        (b"\xff{}", "The body is not UTF-8 text: byte 1 is invalid."),
        (b'{"a": NaN}', "NaN is not JSON: send a number, a string or null."),
        (b'{"a": -Infinity}', "-Infinity is not JSON: send a number, a string or null."),
        (b'{"a": 1e999}', "The number 1e999 is too large."),
        (b"[" * 100_000, "The JSON is nested too deeply."),
        (b"9" * 5000, "The JSON contains a whole number of more than 4300 digits."),
    ],
)
def test_other_json_errors_are_reported_with_line_and_column(body: bytes, result: str) -> None:
    assert tip(body) == result


def test_json_that_only_orjson_rejects_is_read() -> None:
    assert read_lenient_json(b'\xef\xbb\xbf{"a": 1.5}') == {"a": 1.5}
    assert read_lenient_json(b'{"a": "\\ud800"}') == {"a": "\ud800"}


@given(st.binary(max_size=60) | st.text(alphabet='{}[],:"a1 \n\\', max_size=60).map(str.encode))
def test_any_body_is_read_or_rejected(body: bytes) -> None:
    with suppress(MalformedBodyError):  # any other error fails
        read_lenient_json(body)
