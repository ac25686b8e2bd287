"""Find the end of a chunked body, and limit the bytes in it that are not part of the body.

The parser itself (llhttp) does not report where a message ends. With the end known, the bytes of
the next request are not parsed before the response to this one is complete.
"""

import re
from http import HTTPStatus
from typing import Final

from api.connections.http_error import HttpError, malformed

# Sizes, extensions, line ends and trailers: so many bytes, and so many more per byte of the body.
OVERHEAD_BYTES: Final = 16_384
OVERHEAD_PER_BYTE: Final = 1 / 8

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n]*)?\r\n")
_LINE_END: Final = b"\r\n"


class ChunkScanner:
    """Position in one chunked body, whose bytes are passed to `scan` in order."""

    def __init__(self) -> None:
        self.ended = False
        self._line = b""  # the part of a size line or trailer that has arrived
        self._in_chunk = 0  # bytes until the end of the chunk's data and its line end
        self._in_trailers = False
        self._overhead = 0
        self._body = 0

    def scan(self, data: bytes | bytearray) -> int:
        """Return how many bytes at the front of `data` belong to this body.

        Raises:
            HttpError: a size line is invalid, or sizes, extensions and trailers are too large.
        """
        at = 0
        while at < len(data) and not self.ended:
            if self._in_chunk:
                step = min(self._in_chunk, len(data) - at)
                self._in_chunk -= step
                at += step
            else:
                at = self._read_line(data, at)
        return at

    def _read_line(self, data: bytes | bytearray, start: int) -> int:
        found = data.find(b"\n", start)
        end = len(data) if found < 0 else found + 1
        self._count_overhead(end - start)
        self._line += data[start:end]
        if found >= 0:
            line, self._line = self._line, b""
            self._end_line(line)
        return end

    def _end_line(self, line: bytes) -> None:
        if self._in_trailers:
            self.ended = line == _LINE_END
            return
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise malformed("the size of a chunk cannot be read")
        size = int(match[1], 16)
        if not size:
            self._in_trailers = True
            return
        self._body += size
        self._in_chunk = size + len(_LINE_END)
        self._count_overhead(len(_LINE_END))

    def _count_overhead(self, count: int) -> None:
        self._overhead += count
        if self._overhead > OVERHEAD_BYTES + self._body * OVERHEAD_PER_BYTE:
            raise HttpError(
                HTTPStatus.BAD_REQUEST,
                "chunk_overhead",
                "The chunks of the body are too small, or their extensions or trailers too large.",
            )
