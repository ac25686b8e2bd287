"""The head of a request (request line and headers): where it ends, and what it may contain.

The head is cut from the byte stream here and then parsed by llhttp, which accepts no other line
ending than CRLF. So the first empty line is the end of the head for both.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from api.connections.http_error import HttpError, malformed

MAX_HEAD_BYTES: Final = 32_768
MAX_HEADERS: Final = 100
MAX_URL_BYTES: Final = 8_192

END: Final = b"\r\n\r\n"
VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")
# The name that replaces `Upgrade` in a head. llhttp gives the bytes after a request with an upgrade
# to another protocol. We have none, so the request and its body are read as if it had no upgrade,
# which RFC 9110 (7.8) allows. The name is as long as `Upgrade`: nothing else in the head changes.
IGNORED: Final = b"ignored"

_UPGRADE: Final = re.compile(rb"(?<=\n)upgrade(?=:)", re.IGNORECASE)
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n){0,4}")
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_METHOD_START: Final = re.compile(rb"[A-Za-z]")


def cut_head(buffer: bytearray, searched: int) -> bytes | None:
    """Remove a complete head from the front of `buffer` and return it; None if it is incomplete.

    The first `searched` bytes of the buffer are known to contain no end of a head.

    Raises:
        HttpError: the head is too large, or cannot become a valid head.
    """
    if buffer.startswith(b"\r"):
        # A few empty lines before a request are ignored (RFC 9112, 2.2).
        empty = _EMPTY_LINES.match(buffer)
        del buffer[: empty.end() if empty else 0]
        searched = 0
    end = buffer.find(END, max(0, searched - len(END)))
    if end < 0:
        _check_unfinished(buffer)
        return None
    end += len(END)
    if end > MAX_HEAD_BYTES:
        raise _too_large(f"more than {MAX_HEAD_BYTES:,} bytes")
    head = bytes(buffer[:end])
    del buffer[:end]
    return head


def check_head(head: bytes) -> bytes:
    """Return the head as it is passed to the parser, without an upgrade.

    Raises:
        HttpError: the head has too many headers or too long a URL, or the method or version is not
            supported.
    """
    if head.count(b"\r\n") - 2 > MAX_HEADERS:
        raise _too_large(f"more than {MAX_HEADERS} headers")
    method, _, rest = head[: head.index(b"\r\n")].partition(b" ")
    url, _, version = rest.rpartition(b" ")
    if len(url) > MAX_URL_BYTES:
        raise _url_too_long()
    if method == b"CONNECT":
        raise HttpError(
            HTTPStatus.NOT_IMPLEMENTED, "unsupported", "The method CONNECT is not supported."
        )
    if version not in VERSIONS:
        raise malformed("the first line must end with HTTP/1.1")
    return _UPGRADE.sub(IGNORED, head)


def is_chunked(version: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether the body of a request is sent in chunks; header names are lower case.

    Raises:
        HttpError: there is not exactly one `Host`, or the transfer coding is not `chunked`.
    """
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):
        raise malformed("the header Host is required once")
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if not codings:
        return False
    if version != "1.1":
        raise malformed("HTTP/1.0 has no Transfer-Encoding")
    if [coding.lower() for coding in codings] != [b"chunked"]:
        raise HttpError(
            HTTPStatus.NOT_IMPLEMENTED,
            "unsupported",
            "The only supported Transfer-Encoding is chunked.",
        )
    return True


def _check_unfinished(buffer: bytearray) -> None:
    if buffer and not _METHOD_START.match(buffer) and buffer != b"\r":
        raise malformed("it does not begin with a method")
    if _BARE_LINE_FEED.search(buffer):
        raise malformed("lines must end with CR LF")
    if len(buffer) > 2 * MAX_URL_BYTES and b"\r\n" not in buffer:
        raise _url_too_long()
    if len(buffer) > MAX_HEAD_BYTES:
        raise _too_large(f"more than {MAX_HEAD_BYTES:,} bytes")


def _too_large(what: str) -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        f"The headers of the request are too large: {what}.",
    )


def _url_too_long() -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "url_too_long",
        f"The URL is longer than {MAX_URL_BYTES:,} bytes.",
    )
