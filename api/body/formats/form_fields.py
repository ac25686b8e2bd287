"""Parse form-urlencoded bodies and query strings; long values of bodies are left in the spool."""

import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from api.body.receiving.spool import Decode, LongValue, Spool, iter_blocks
from api.body.receiving.structure import MAX_FIELDS, UTF8_BOM
from api.errors.api_error import MalformedBodyError

# Longer values, as they were sent, stay in the spool. No field but an image accepts one.
LONG_BYTES: Final = 16_384
MAX_NAME_BYTES: Final = 1_000
_ESCAPED_PLUS: Final = (b"%2B", b"%2b")


class FormText(str):
    """A decoded value of a form; `raw` is the value as it was sent."""

    __slots__ = ("raw",)

    raw: bytes

    @property
    def base64_text(self) -> str:
        """The value read as base64, in which an unescaped `+` may be a plus sign."""
        return _base64_decoder((self.raw,))(self.raw).decode()


def parse_form(spool: Spool) -> dict[str, Any]:
    """Return the fields of a form, of which the receiver has limited the number.

    A long value is read as base64: a program that escapes plus signs sends `+` for a blank, and
    any other program sends the plus signs of base64 as they are.

    Raises:
        MalformedBodyError: the form is not UTF-8 text, or a name is too long.
    """
    fields: dict[str, Any] = {}
    for start, end in _split(spool):
        head = spool.read(start, min(MAX_NAME_BYTES + 1, end - start))
        name, separator, _ = head.partition(b"=")
        if len(name) > MAX_NAME_BYTES:
            raise MalformedBodyError(f"A name in the form is longer than {MAX_NAME_BYTES} bytes.")
        fields[_decode_text(name)] = _read_value(spool, start + len(name) + len(separator), end)
    return fields


def parse_query(query: bytes) -> dict[str, Any]:
    """Return the fields of a query string, whose length the receiver of its request limits.

    Raises:
        MalformedBodyError: the query string is not UTF-8 text, or has too many fields.
    """
    parts = [part for part in query.split(b"&") if part]
    if len(parts) > MAX_FIELDS:
        raise MalformedBodyError(f"The query string has more than {MAX_FIELDS} fields.")
    fields: dict[str, Any] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        fields[_decode_text(name, "query string")] = _to_text(value, "query string")
    return fields


def _split(spool: Spool) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each field that is not empty."""
    start = len(UTF8_BOM) if spool.read(0, len(UTF8_BOM)) == UTF8_BOM else 0
    while start < spool.size:
        found = spool.find(b"&", start)
        end = spool.size if found < 0 else found
        if end > start:
            yield start, end
        start = end + 1


def _read_value(spool: Spool, start: int, end: int) -> LongValue | FormText:
    if end - start > LONG_BYTES:
        decode = _base64_decoder(iter_blocks(spool, start, end - start))
        return LongValue(spool, start, end - start, decode=decode, cut=_cut)
    return _to_text(spool.read(start, end - start))


def _to_text(raw: bytes, place: str = "form") -> FormText:
    text = FormText(_decode_text(raw, place))
    text.raw = raw
    return text


def _decode_text(raw: bytes, place: str = "form") -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"The {place} is not UTF-8 text.") from error


def _base64_decoder(blocks: Iterable[bytes]) -> Decode:
    """Return the decoder of a value; `blocks` is the value as it was sent.

    An escaped plus sign that two blocks share is missed, but an image has thousands of others.
    """
    escapes_plus = any(escaped in block for block in blocks for escaped in _ESCAPED_PLUS)
    return _decode_blanks if escapes_plus else _decode_escapes


def _decode_blanks(block: bytes) -> bytes:
    return _decode_escapes(block.replace(b"+", b" "))


def _decode_escapes(block: bytes) -> bytes:
    """Decode percent-encoding in C, while unquote_to_bytes makes an object of each escape sequence.

    Quoted-printable text differs in its escape character, and in one before a line end, which is
    no percent-encoding.
    """
    if b"%" not in block:
        return block
    return binascii.a2b_qp(block.replace(b"=", b"=3D").replace(b"%", b"="))


def _cut(block: bytes) -> int:
    escape = block.rfind(b"%", len(block) - 2)
    return len(block) if escape < 0 else escape
