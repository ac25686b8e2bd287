"""Parse multipart bodies in place; long parts, such as uploaded images, are left in the spool."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from api.body.receiving.headers import read_parameters
from api.body.receiving.spool import LongValue, Spool
from api.body.receiving.structure import MAX_FIELDS
from api.errors.api_error import MalformedBodyError

# Longer parts stay in the spool.
LONG_BYTES: Final = 16_384
MAX_HEADER_BYTES: Final = 8_192
# Texts that begin like the boundary, within the parts: each costs a read.
MAX_LOOKALIKES: Final = 1_000
_LINE_END: Final = b"\r\n"


def parse_multipart(spool: Spool, boundary: bytes) -> dict[str, Any]:
    """Return text parts as text, and files as bytes; a long part as a `LongValue`.

    Parts whose name ends in `[]` become a list. Of other parts of one name the last one counts.

    Raises:
        MalformedBodyError: the body is not multipart, ends early, or exceeds a limit.
    """
    if not spool.size:
        return {}
    fields: dict[str, Any] = {}
    for part in _MultipartReader(spool, boundary):
        value = _read_value(spool, part)
        if part.name.endswith("[]"):
            fields.setdefault(part.name, []).append(value)
        else:
            fields[part.name] = value
    return fields


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    is_file: bool
    start: int
    end: int


class _MultipartReader:
    """Reader of the parts of a multipart body (RFC 2046, RFC 7578)."""

    def __init__(self, spool: Spool, boundary: bytes) -> None:
        self._spool = spool
        self._delimiter = b"--" + boundary
        self._lookalikes = 0

    def __iter__(self) -> Iterator[_Part]:
        at = self._find_first()
        parts = 0
        while not self._is_last(at):
            parts += 1
            if parts > MAX_FIELDS:
                raise _error(f"it has more than {MAX_FIELDS} parts.")
            name, is_file, start = self._read_headers(self._end_of_line(at))
            # The line end before the delimiter belongs to the delimiter.
            end = self._find_delimiter(start)
            yield _Part(name, is_file, start, end)
            at = end + len(_LINE_END)

    def _find_first(self) -> int:
        """Return the position of the first delimiter, before which there may be a preamble."""
        if self._spool.read(0, len(self._delimiter)) == self._delimiter:
            return 0
        found = self._spool.find(_LINE_END + self._delimiter, 0)
        if found < 0:
            raise _error("it does not contain the boundary that its content type names.")
        return found + len(_LINE_END)

    def _find_delimiter(self, start: int) -> int:
        """Return the position of the line end before the next delimiter."""
        needle = _LINE_END + self._delimiter
        while (found := self._spool.find(needle, start)) >= 0:
            after = self._spool.read(found + len(needle), 2)
            if after[:1] in {b" ", b"\t"} or after in {b"--", _LINE_END}:
                return found
            self._lookalikes += 1
            if self._lookalikes > MAX_LOOKALIKES:
                raise _error("its parts contain the boundary text too often; use another boundary.")
            start = found + len(needle)
        raise MalformedBodyError("The multipart body ends early: it has no closing boundary.")

    def _is_last(self, at: int) -> bool:
        return self._spool.read(at + len(self._delimiter), 2) == b"--"

    def _end_of_line(self, at: int) -> int:
        """Return the position of the line end after the delimiter at `at`."""
        start = at + len(self._delimiter)
        line, line_end, _ = self._spool.read(start, MAX_HEADER_BYTES).partition(_LINE_END)
        if not line_end or line.strip(b" \t"):
            raise _error("a boundary is not followed by a line end.")
        return start + len(line)

    def _read_headers(self, at: int) -> tuple[str, bool, int]:
        """Return the name of a part, whether it is a file, and the position of its content."""
        text, blank_line, _ = self._spool.read(at, MAX_HEADER_BYTES).partition(_LINE_END * 2)
        if not blank_line:
            raise _error(f"a part has no headers, or more than {MAX_HEADER_BYTES} bytes of them.")
        for header in text.split(_LINE_END):
            name, _, value = header.partition(b":")
            if name.strip().lower() == b"content-disposition":
                parameters = read_parameters(_decode_text(value, "a header of a part"))
                if "name" in parameters:
                    is_file = not parameters.keys().isdisjoint({"filename", "filename*"})
                    return parameters["name"], is_file, at + len(text) + len(blank_line)
        raise _error("a part has no name: its header Content-Disposition names none.")


def _read_value(spool: Spool, part: _Part) -> LongValue | bytes | str:
    length = part.end - part.start
    if length > LONG_BYTES:
        return LongValue(spool, part.start, length, is_file=part.is_file)
    content = spool.read(part.start, length)
    return content if part.is_file else _decode_text(content, f"the part {part.name[:40]}")


def _decode_text(content: bytes, place: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _error(f"{place} is not UTF-8 text.") from error


def _error(problem: str) -> MalformedBodyError:
    return MalformedBodyError(f"The multipart body cannot be read: {problem}")
