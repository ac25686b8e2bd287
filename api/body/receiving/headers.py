"""The headers that describe a request body: content type, content encoding, length."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from starlette.datastructures import Headers

from api.errors.api_error import (
    BodyTooLargeError,
    MalformedBodyError,
    UnsupportedContentEncodingError,
    UnsupportedMediaTypeError,
)

# One parameter of a header; every part has one reading only, so the time is linear.
_PARAMETER: Final = re.compile(
    r';[ \t]*+([!#$%&\'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^;"]*+))'
)
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_PLAIN: Final = frozenset({"", "identity"})
MAX_BOUNDARY: Final = 256
# What browsers and some programs declare when a request's body is a string.
PLAIN_TEXT: Final = "text/plain"


class BodyFormat(StrEnum):
    """A format of request bodies; the value is its content type."""

    JSON = "application/json"
    FORM = "application/x-www-form-urlencoded"
    MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class BodyHeaders:
    """What the headers say about a body.

    `boundary` is empty unless the format is multipart. `is_plain_text` is true for a body that is
    declared as text, and is read if it turns out to be JSON. A charset is not part of it: text is
    UTF-8.
    """

    format: BodyFormat
    is_gzip: bool = False
    boundary: bytes = b""
    is_plain_text: bool = False


def read_body_headers(headers: Headers, max_bytes: int) -> BodyHeaders:
    """Return what the headers say about a body of at most `max_bytes` bytes.

    Raises:
        BodyTooLargeError: the declared length exceeds `max_bytes`.
        UnsupportedMediaTypeError: the content type is not JSON, form-urlencoded, multipart or plain
            text.
        UnsupportedContentEncodingError: the content encoding is neither gzip nor identity.
        MalformedBodyError: the content type is multipart without a usable boundary.
    """
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    content_type = headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower() or BodyFormat.JSON
    if kind == PLAIN_TEXT:
        return BodyHeaders(BodyFormat.JSON, is_gzip(headers), is_plain_text=True)
    if kind not in tuple(BodyFormat):
        raise UnsupportedMediaTypeError(*BodyFormat)
    body_format = BodyFormat(kind)
    boundary = _read_boundary(content_type) if body_format is BodyFormat.MULTIPART else b""
    return BodyHeaders(body_format, is_gzip(headers), boundary)


def is_gzip(headers: Headers) -> bool:
    """Return whether the body is compressed with gzip.

    Raises:
        UnsupportedContentEncodingError: the content encoding is neither gzip nor identity.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in _GZIP | _PLAIN:
        raise UnsupportedContentEncodingError
    return encoding in _GZIP


def read_parameters(value: str) -> dict[str, str]:
    """Return the parameters of a header value such as `form-data; name="a"`, by lower-case name."""
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if not token else token.strip()
        for name, quoted, token in _PARAMETER.findall(value)
    }


def _read_boundary(content_type: str) -> bytes:
    boundary = read_parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isprintable():
        raise MalformedBodyError(
            "The multipart body cannot be read: its content type names no usable boundary."
        )
    return boundary.encode("latin-1", errors="replace")
