"""Fallback for JSON that orjson rejects: parse it leniently, or explain where it is malformed."""

import json
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

from api.errors.api_error import MalformedBodyError

# Hexadecimal digits of the text that stands for a string left out of the JSON.
PLACEHOLDER_LENGTH: Final = 40
_PLACEHOLDER: Final = re.compile(rf'"([0-9a-f]{{{PLACEHOLDER_LENGTH}}})"')
_NOTHING_REMOVED: Final[Mapping[str, int]] = MappingProxyType({})
_TRAILING_COMMA: Final = re.compile(r",\s*[\]}]")
# By the message of the standard library.
_SENTENCES: Final = {
    "Unterminated string starting at": "The string that starts at {} has no closing quotation "
    "mark.",
    "Invalid control character at": "The string contains a control character at {}: write it as "
    "an escape sequence, such as \\n for a line end.",
}


def read_lenient_json(body: bytes, removed: Mapping[str, int] = _NOTHING_REMOVED) -> Any:
    """Parse `body` with the standard library's JSON parser, which accepts more than orjson.

    For example it accepts an unpaired surrogate, which then fails the validation of its field.
    `removed` holds, by placeholder, how much longer the string was that a placeholder stands for.

    Raises:
        MalformedBodyError: the JSON is malformed; the message names the line and the column.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBodyError(
            f"The body is not UTF-8 text: byte {error.start + 1} is invalid."
        ) from error
    try:
        return json.loads(text, parse_constant=_reject_constant, parse_float=_finite_float)
    except json.JSONDecodeError as error:
        raise MalformedBodyError(_explain(text, error, removed)) from error
    except RecursionError as error:
        raise MalformedBodyError("The JSON is nested too deeply.") from error
    except ValueError as error:
        # The standard library rejects longer integers, because parsing them takes long.
        digits = sys.get_int_max_str_digits()
        raise MalformedBodyError(
            f"The JSON contains a whole number of more than {digits} digits."
        ) from error


def _explain(text: str, error: json.JSONDecodeError, removed: Mapping[str, int]) -> str:
    comma = _find_trailing_comma(text, error.pos)
    if comma is not None:
        return (
            f"There is a trailing comma at {_line_and_column(text, comma, removed)}: "
            "JSON allows no comma after the last entry of an object or array."
        )
    place = _line_and_column(text, error.pos, removed)
    sentence = _SENTENCES.get(error.msg)
    return sentence.format(place) if sentence else f"The JSON is invalid at {place}: {error.msg}."


def _find_trailing_comma(text: str, position: int) -> int | None:
    """Return the index of the trailing comma that made the parser stop at `position`, or None."""
    before = len(text[: position + 1].rstrip("]} \t\r\n")) - 1
    return next((at for at in (position, before) if _TRAILING_COMMA.match(text, max(at, 0))), None)


def _line_and_column(text: str, position: int, removed: Mapping[str, int]) -> str:
    line = text.count("\n", 0, position) + 1
    begin = text.rfind("\n", 0, position)
    column = position - begin
    for placeholder in _PLACEHOLDER.finditer(text, begin + 1, position) if removed else ():
        column += removed.get(placeholder[1], 0)
    return f"line {line}, column {column}"


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedBodyError(f"The number {text[:40]} is too large.")
    return number


def _reject_constant(name: str) -> NoReturn:
    raise MalformedBodyError(f"{name} is not JSON: send a number, a string or null.")
