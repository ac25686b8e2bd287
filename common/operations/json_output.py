"""How use-cases' answers are written as JSON: the same on both faces."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson


def encode_json(answer: Any, *, indented: bool = False) -> bytes:
    """Write an answer; decimals become text, because a float would not hold them exactly."""
    return orjson.dumps(
        answer, default=_encode_value, option=orjson.OPT_INDENT_2 if indented else None
    )


def _encode_value(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # never as a power of ten
    if isinstance(value, UUID):
        return str(value)  # the database driver's own kind
    raise TypeError
