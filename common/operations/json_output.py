"""JSON encoding of use case results, shared by the admin API and the command line."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson


def encode_json(result: Any, *, indented: bool = False) -> bytes:
    """Return a result as JSON; decimals become strings, because floats are inexact."""
    return orjson.dumps(
        result, default=_encode_value, option=orjson.OPT_INDENT_2 if indented else None
    )


def _encode_value(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"  # never as a power of ten
    if isinstance(value, UUID):
        return str(value)  # the database driver's own kind
    raise TypeError
