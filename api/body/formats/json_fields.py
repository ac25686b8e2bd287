"""Parse JSON bodies; long strings, such as images in base64, are left in the spool."""

import re
import secrets
from typing import Any, Final

import orjson

from api.body.json_errors import PLACEHOLDER_LENGTH, read_lenient_json
from api.body.receiving.spool import BLOCK_BYTES, LongValue, Spool
from api.body.receiving.structure import UTF8_BOM
from api.errors.api_error import MalformedBodyError

# Longer strings stay in the spool. No field but an image accepts one.
LONG_BYTES: Final = 16_384
# What is parsed at once: the body without its long strings.
MAX_SKELETON_BYTES: Final = 1_000_000
# The rest of a string in a block, without an escape sequence that the block cuts off. Possessive
# quantifiers keep the time linear.
_IN_STRING: Final = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+')
_WHOLE_ESCAPES: Final = re.compile(rb"[^\\]*+(?:\\(?:u.{4}|[^u])[^\\]*+)*+", re.DOTALL)


def parse_json(spool: Spool) -> dict[str, Any]:
    """Return the fields of a JSON object; no body means no fields.

    Raises:
        MalformedBodyError: the body is not JSON, or not an object.
    """
    if spool.is_small:
        return _to_fields(spool.read(0, spool.size), {})
    skeleton = _Skeleton(spool)
    skeleton.build()
    return _to_fields(bytes(skeleton.text), skeleton.long_values)


def _to_fields(text: bytes, long_values: dict[str, LongValue]) -> dict[str, Any]:
    text = text.removeprefix(UTF8_BOM)
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        removed = {name: long.length - len(name) for name, long in long_values.items()}
        value = read_lenient_json(text, removed)
    if not isinstance(value, dict):
        raise MalformedBodyError("The body must be a JSON object: { … }.")
    if long_values:
        _restore_long_values(value, long_values)
    return value


def _restore_long_values(fields: dict[str, Any], long_values: dict[str, LongValue]) -> None:
    """Replace the placeholders in the parsed fields by the values they stand for."""
    containers: list[Any] = [fields]
    while containers:
        container = containers.pop()
        is_object = isinstance(container, dict)
        if is_object and not long_values.keys().isdisjoint(container):
            raise MalformedBodyError(f"A name in the JSON is longer than {LONG_BYTES} bytes.")
        for place, value in list(container.items() if is_object else enumerate(container)):
            if isinstance(value, dict | list):
                containers.append(value)
            elif isinstance(value, str) and value in long_values:
                container[place] = long_values[value]


class _Skeleton:
    """The JSON of a body with a placeholder for each long string."""

    def __init__(self, spool: Spool) -> None:
        self.text = bytearray()
        self.long_values: dict[str, LongValue] = {}
        self._spool = spool
        self._nonce = secrets.token_hex(16)  # or a caller could write a placeholder
        self._opened: int | None = None  # position of the string that is being read
        self._opened_in_text = 0

    def build(self) -> None:
        """Read the whole spool.

        Raises:
            MalformedBodyError: too much is left without the long strings, or a string contains a
                control character.
        """
        at = 0
        while block := self._spool.read(at, BLOCK_BYTES):
            done = self._read_block(block, at)
            if not done:  # the body ends within an escape sequence
                break
            at += done

    def _read_block(self, block: bytes, at: int) -> int:
        """Read the tokens of a block at position `at`; return the bytes that were read."""
        done = 0
        while done < len(block):
            if self._opened is None:
                quote = block.find(b'"', done)
                end = len(block) if quote < 0 else quote + 1
                self._keep(block[done:end])
                if quote >= 0:
                    self._opened, self._opened_in_text = at + end, len(self.text)
            else:
                end = self._read_string(block, at, done, self._opened)
                if end == done:
                    break
            done = end
        return done

    def _read_string(self, block: bytes, at: int, done: int, opened: int) -> int:
        """Read a string's rest in `block`; return the position after it, or after its end quote."""
        match = _IN_STRING.match(block, done)
        end = done if match is None else match.end()
        if at + end - opened > LONG_BYTES:
            del self.text[self._opened_in_text :]
        else:
            self._keep(block[done:end])
        stopped_by = block[end : end + 1]
        if stopped_by == b'"':
            self._close(opened, at + end)
            return end + 1
        if stopped_by not in {b"", b"\\"}:
            raise MalformedBodyError(
                f"A string contains a control character at byte {at + end + 1}: write it as an "
                "escape sequence, such as \\n for a line end."
            )
        return end

    def _close(self, opened: int, end: int) -> None:
        length = end - opened
        if length > LONG_BYTES:
            name = f"{self._nonce}{len(self.long_values):0{PLACEHOLDER_LENGTH - 32}}"
            self.long_values[name] = LongValue(
                self._spool, opened, length, decode=_decode, cut=_cut
            )
            self.text += name.encode()
        self._keep(b'"')
        self._opened = None

    def _keep(self, text: bytes) -> None:
        self.text += text
        if len(self.text) > MAX_SKELETON_BYTES:
            raise MalformedBodyError(
                f"The JSON is too large: without strings of over {LONG_BYTES} bytes, it exceeds "
                f"{MAX_SKELETON_BYTES} bytes."
            )


def _cut(block: bytes) -> int:
    match = _WHOLE_ESCAPES.match(block)
    return 0 if match is None else match.end()


def _decode(block: bytes) -> bytes:
    if b"\\" not in block:
        return block
    text: str = orjson.loads(b'"%s"' % block)
    return text.encode()
