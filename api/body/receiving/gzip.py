"""Decompress gzip bodies in small pieces, with a limit on the ratio."""

import zlib
from collections.abc import Iterator
from typing import Final

from api.body.receiving.spool import SMALL_BYTES
from api.errors.api_error import MalformedBodyError

# gzip shrinks JSON with base64 to about three quarters, and text to a tenth.
MAX_RATIO: Final = 100
# Bodies below this size may have any ratio.
FREE_BYTES: Final = 1_000_000
# Programs that append to a gzip file write one member each time.
MAX_MEMBERS: Final = 16
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class GzipReader:
    """Decompressor of one body; it never holds more than one small piece of the output."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._members = 1
        self._received = 0
        self._produced = 0
        self._has_more = False  # output of bytes that were fed before

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what `chunk` decompresses to.

        Raises:
            MalformedBodyError: the data are not gzip, or expand far more than a request does.
        """
        self._received += len(chunk)
        while chunk or self._has_more:
            if self._member.eof:
                self._begin_member()
            try:
                piece = self._member.decompress(chunk, SMALL_BYTES)
            except zlib.error as error:
                raise MalformedBodyError("The body is not valid gzip data.") from error
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._has_more = len(piece) == SMALL_BYTES and not self._member.eof
            self._count(piece)
            yield piece

    def finish(self) -> None:
        """Check that the data are complete.

        Raises:
            MalformedBodyError: the data end within a member.
        """
        if self._received and not self._member.eof:
            raise MalformedBodyError("The gzip data of the body end early.")

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise MalformedBodyError(f"The body has more than {MAX_MEMBERS} gzip members.")
        self._member = zlib.decompressobj(_GZIP_WINDOW)

    def _count(self, piece: bytes) -> None:
        self._produced += len(piece)
        if self._produced > FREE_BYTES and self._produced > MAX_RATIO * self._received:
            raise MalformedBodyError(
                f"The gzip body expands to more than {MAX_RATIO} times its size."
            )
