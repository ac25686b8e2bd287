"""Decode images that are sent as base64 text, in blocks, as clients write it."""

import binascii
from collections.abc import Callable, Iterable, Iterator
from typing import Final

_BLANKS: Final = b" \t\r\n\f\v"
_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_KNOWN: Final = _LETTERS + b"-_=" + _BLANKS
# `data:image/png;base64,` and its parameters.
_MAX_HEAD: Final = 1_000
_GROUP: Final = 4


def decode_base64(
    blocks: Iterable[bytes], write: Callable[[bytes], object], *, max_bytes: int
) -> int:
    """Decode base64 text, with or without a `data:` URI prefix; pass the bytes to `write`.

    Blanks and line ends are ignored, padding may be missing, and the letters `-` and `_` of the
    URL-safe alphabet are read as `+` and `/`. Decoding ends soon after `max_bytes`.

    Returns:
        The number of bytes written.

    Raises:
        ValueError: the text is not base64; the message describes the problem.
    """
    decoder = _Decoder(write)
    for block in _without_head(iter(blocks), decoder):
        decoder.feed(block)
        if decoder.written > max_bytes:
            return decoder.written
    decoder.finish()
    return decoder.written


class _Decoder:
    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._rest = b""  # characters of an incomplete group
        self._padding = 0
        self.position = 0  # characters before the next block
        self.written = 0

    def feed(self, block: bytes) -> None:
        if unknown := block.translate(None, _KNOWN):
            at = block.index(unknown[:1])
            character = block[at : at + 4].decode(errors="ignore")[:1] or "�"
            raise ValueError(
                f"the character {character!r} at position {self.position + at + 1} is not base64"
            )
        self.position += len(block)
        text = block.translate(_URL_SAFE, _BLANKS)
        letters = b"" if self._padding else text.partition(b"=")[0]
        padding = text[len(letters) :]
        if padding.strip(b"="):
            raise ValueError("it continues after its padding (=)")
        self._padding += len(padding)
        letters = self._rest + letters
        whole = len(letters) - len(letters) % _GROUP
        self._put(letters[:whole])
        self._rest = letters[whole:]

    def finish(self) -> None:
        missing = -len(self._rest) % _GROUP
        if missing == _GROUP - 1:
            raise ValueError("the base64 text is incomplete: its last character stands alone")
        if self._padding > missing:
            raise ValueError("it ends with too much padding (=)")
        self._put(self._rest + b"=" * missing)
        if not self.written:
            raise ValueError("it contains no bytes")

    def _put(self, text: bytes) -> None:
        if text:
            data = binascii.a2b_base64(text)
            self._write(data)
            self.written += len(data)


def _without_head(blocks: Iterator[bytes], decoder: _Decoder) -> Iterator[bytes]:
    first = next(blocks, b"")
    blanks = len(first) - len(first.lstrip(_BLANKS))
    decoder.position = blanks
    first = first[blanks:]
    if first[:5].lower() == b"data:":
        head, comma, rest = first.partition(b",")
        parameters = head.lower().translate(None, _BLANKS)
        if not comma or len(head) > _MAX_HEAD or not parameters.endswith(b";base64"):
            raise ValueError("the data: URI does not begin like data:image/png;base64,")
        decoder.position += len(head) + 1
        first = rest
    yield first
    yield from blocks
