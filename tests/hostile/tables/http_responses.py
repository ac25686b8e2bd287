"""Responses of an image host: cut off, rejected, reported, and accepted ones.

At most 1,000 bytes of image are taken where these are run.
"""

import gzip
import zlib
from typing import Final

from tests.hostile.servers.peers import (
    OK,
    Script,
    deafness,
    hangs_up,
    repeats,
    says,
    says_and_stays,
    silence,
)

MAX_BYTES: Final = 1000
DRIP_SECONDS: Final = 0.02

HEAD: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = HEAD + b"transfer-encoding: chunked\r\n\r\n"
UPGRADE: Final = b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nSSH-2.0"
MAX: Final = b"x" * MAX_BYTES


def drips(begin: bytes, again: bytes) -> Script:
    """Send one thing at once, then another repeatedly with a pause."""
    return repeats(begin, again, pause_seconds=DRIP_SECONDS)


# Demanded by the specification: dripped body and headers, endless chunks, bombs, an upgrade.
# (The stalled handshake is in `handshakes.py`.)
LISTED_SLOW: Final[list[tuple[str, Script]]] = [
    ("drips a body", drips(HEAD + b"content-length: 999\r\n\r\n", b"a")),
    ("drips a head", drips(HEAD + b"x: ", b"a")),
]
LISTED_BROKEN: Final[list[tuple[str, Script]]] = [
    ("changes protocol unasked", says_and_stays(UPGRADE)),
]
LISTED_TOO_MUCH: Final[list[tuple[str, Script]]] = [
    ("endless chunks", repeats(CHUNKED, b"64\r\n" + b"x" * 100 + b"\r\n")),
]
LISTED_REJECTED: Final[list[tuple[bytes, str]]] = [
    (HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(10**6)), "compressed"),
]

# The one deadline ends them.
SLOW: Final[list[tuple[str, Script]]] = [
    ("says nothing", silence),
    ("neither reads nor says anything", deafness),
    ("drips a status line", drips(b"HTTP/1.1 200 ", b"O")),
    ("drips headers", drips(HEAD, b"x: a\r\n")),
    ("drips interim answers", drips(b"", b"HTTP/1.1 102 Processing\r\n\r\n")),
    ("drips chunks", drips(CHUNKED, b"1\r\na\r\n")),
    ("drips the length of a chunk", drips(CHUNKED, b"0")),
    ("drips the extension of a chunk", drips(CHUNKED + b"1;", b"a")),
    ("drips trailers", drips(CHUNKED + b"0\r\n", b"x: a\r\n")),
    ("drips a body without an end", drips(HEAD + b"\r\n", b"a")),
    ("stops in the head", says_and_stays(HEAD + b"content-le")),
    ("stops after an interim answer", says_and_stays(b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("stops in the body", says_and_stays(HEAD + b"content-length: 3\r\n\r\nok")),
    ("stops in a chunk", says_and_stays(CHUNKED + b"5\r\nok")),
    ("stops before the last chunk", says_and_stays(CHUNKED + b"2\r\nok\r\n")),
    ("never ends", says_and_stays(HEAD + b"\r\nok")),
]

# No proper answer, or more bytes than an answer may take: dropped at once.
BROKEN: Final[list[tuple[str, Script]]] = [
    ("hangs up at once", hangs_up),
    ("says nothing and hangs up", says(b"")),
    ("hangs up in the status line", says(b"HTTP/1.1 2")),
    ("hangs up in the head", says(HEAD)),
    ("hangs up in a header", says(HEAD + b"content-len")),
    ("hangs up after an interim answer", says(b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("speaks ssh", says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    ("speaks mail", says(b"220 mail.example ESMTP\r\n\r\n")),
    ("speaks Redis", says(b"-ERR unknown command\r\n\r\n")),
    ("speaks radio", says(b"ICY 200 OK\r\n\r\n")),
    ("speaks TLS", says(b"\x15\x03\x03\x00\x02\x02\x28" + b"\r\n\r\n")),
    ("speaks HTTP/0.9", says(b"<html>hello</html>\r\n\r\n")),
    ("speaks HTTP/2", says(b"\0\0\x12\4\0\0\0\0\0" + b"\0" * 18 + b"\r\n\r\n")),
    ("says it speaks HTTP/2", says(b"HTTP/2.0 200 OK\r\n\r\nok")),
    ("status of two digits", says(b"HTTP/1.1 20 OK\r\n\r\nok")),
    ("status of four digits", says(b"HTTP/1.1 2000 OK\r\n\r\nok")),
    ("status of letters", says(b"HTTP/1.1 abc OK\r\n\r\nok")),
    ("status with a sign", says(b"HTTP/1.1 -20 OK\r\n\r\nok")),
    ("status below all", says(b"HTTP/1.1 000 OK\r\n\r\nok")),
    ("lower case", says(b"http/1.1 200 ok\r\n\r\nok")),
    ("header of NUL", says(HEAD + b"x: a\0b\r\n\r\n")),
    ("header without a colon", says(HEAD + b"hello\r\n\r\nok")),
    ("header without a name", says(HEAD + b": a\r\n\r\nok")),
    ("header with a space before its colon", says(HEAD + b"content-length : 2\r\n\r\nok")),
    ("header with a space in its name", says(HEAD + b"content length: 2\r\n\r\nok")),
    ("header whose name is no text", says(HEAD + b"\xff: 2\r\n\r\nok")),
    ("continued line before any header", says(HEAD + b" a: b\r\n\r\nok")),
    ("ends too soon", says(HEAD + b"content-length: 10\r\n\r\nok")),
    ("two lengths", says(HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nok")),
    ("two lengths in one", says(HEAD + b"content-length: 1, 2\r\n\r\nok")),
    ("negative length", says(HEAD + b"content-length: -1\r\n\r\nok")),
    ("length with a plus sign", says(HEAD + b"content-length: +2\r\n\r\nok")),
    ("length with an underscore", says(HEAD + b"content-length: 0_2\r\n\r\nok")),
    ("length with a fraction", says(HEAD + b"content-length: 2.0\r\n\r\nok")),
    ("hexadecimal length", says(HEAD + b"content-length: 0x2\r\n\r\nok")),
    ("empty length", says(HEAD + b"content-length: \r\n\r\nok")),
    ("length of digits", says(HEAD + b"content-length: " + b"9" * 9000 + b"\r\n\r\nok")),
    ("length not ASCII", says(HEAD + "content-length: ²\r\n\r\nok".encode())),
    ("strange coding", says(HEAD + b"transfer-encoding: gzip\r\n\r\nok")),
    ("compressed chunks", says(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
    ("chunks twice", says(HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
    ("chunks by another name", says(HEAD + b"transfer-encoding: xchunked\r\n\r\nok")),
    ("ends in a chunk", says(CHUNKED + b"ff\r\nok")),
    ("ends before the last chunk", says(CHUNKED + b"2\r\nok\r\n")),
    ("no chunk length", says(CHUNKED + b"zz\r\nok\r\n0\r\n\r\n")),
    ("empty chunk length", says(CHUNKED + b"\r\nok\r\n0\r\n\r\n")),
    ("negative chunk length", says(CHUNKED + b"-2\r\nok\r\n0\r\n\r\n")),
    ("chunk length with a prefix", says(CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n")),
    ("chunk longer than it says", says(CHUNKED + b"1\r\nok\r\n0\r\n\r\n")),
    ("chunk of all memory there is", says(CHUNKED + b"f" * 20 + b"\r\nok")),
    ("chunk length past all numbers", says(CHUNKED + b"f" * 21 + b"\r\nok")),
    ("endless chunk length", repeats(CHUNKED, b"0" * 4000)),
    ("endless chunk extensions", repeats(CHUNKED, b"1;" + b"a" * 4000 + b"\r\nx\r\n")),
    ("one endless chunk extension", repeats(CHUNKED + b"1;", b"a" * 4000)),
    ("endless trailers", repeats(CHUNKED + b"0\r\n", b"x: a\r\n")),
    ("header too large", says_and_stays(HEAD + b"x: " + b"a" * 20_000 + b"\r\n\r\nok")),
    ("too many headers", says_and_stays(HEAD + b"x: a\r\n" * 5_000 + b"\r\nok")),
    ("endless headers", repeats(HEAD, b"x: a\r\n")),
    ("endless status line", repeats(b"HTTP/1.1 200 ", b"O" * 4000)),
    ("endless name of a header", repeats(HEAD, b"x" * 4000)),
    ("endless continued line", repeats(HEAD + b"x: a\r\n", b" a\r\n")),
    ("endless line ends", repeats(b"", b"\r\n" * 2000)),
    ("endless interim answers", repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("endless noise", repeats(b"", b"\xff" * 4000)),
]

# A body of crumbs; where 20 MB are taken.
CRUMBS: Final[list[tuple[str, Script]]] = [
    ("chunks of one byte", repeats(CHUNKED, b"1\r\nx\r\n" * 1000)),
    ("chunks of a few bytes with extensions", repeats(CHUNKED, b"3;a=b\r\nxxx\r\n" * 1000)),
]

TOO_MUCH: Final[list[tuple[str, Script]]] = [
    ("endless body", repeats(HEAD + b"\r\n", b"x" * 4000)),
    ("one endless chunk", repeats(CHUNKED + b"f" * 8 + b"\r\n", b"x" * 4000)),
    ("body longer than a small declared one", says(HEAD + b"\r\n" + b"x" * (MAX_BYTES + 1))),
]

# (answer, what the tenant is told): known without waiting for the end of the answer.
REJECTED: Final[list[tuple[bytes, str]]] = [
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP 404"),
    (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "HTTP 410"),
    (b"HTTP/1.1 999 Whatever\r\ncontent-length: 0\r\n\r\n", "HTTP 999"),
    (HEAD + b"content-encoding: br\r\ncontent-length: 10000000\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: deflate\r\n\r\n" + zlib.compress(bytes(10**6)), "compressed"),
    (HEAD + b"content-encoding: zstd\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: X-GZIP\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: gzip, identity\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: identity\r\ncontent-encoding: gzip\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: none, gzip\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: nonesuch\r\n\r\n", "compressed"),
    (HEAD + f"content-length: {MAX_BYTES + 1}\r\n\r\n".encode(), "too large"),
    (HEAD + b"content-length: " + b"9" * 20 + b"\r\n\r\n", "too large"),
    (HEAD + b"\r\n" + MAX + b"x", "too large"),
    (CHUNKED + b"3e9\r\n" + MAX + b"x", "too large"),
]

TAKEN: Final[list[tuple[bytes, bytes]]] = [
    (OK, b"ok"),
    (HEAD + b"content-length: 0\r\n\r\n", b""),
    (HEAD + b"\r\nuntil the end", b"until the end"),
    (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok"),
    (CHUNKED + b"1;a=b\r\no\r\n1\r\nk\r\n0\r\ntrailer: x\r\n\r\n", b"ok"),
    (CHUNKED + b"0000000000000000002\r\nok\r\n0\r\n\r\n", b"ok"),
    (CHUNKED + b"1\r\nx\r\n" * MAX_BYTES + b"0\r\n\r\n", MAX),
    (HEAD + b"content-encoding: Identity\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"content-encoding: \r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"content-encoding: none\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"content-encoding: None, identity\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    (HEAD + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", b"ok"),
    (HEAD + f"content-length: {MAX_BYTES}\r\n\r\n".encode() + MAX, MAX),
    (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"ok"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK, b"ok"),
    (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"x-name: \xc3\xa4\xff\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"content-length: 2\r\n\r\nok and more", b"ok"),
    (OK + b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2/\r\n\r\n", b"ok"),
    (b"HTTP/1.1 206 Partial Content\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (HEAD + b"location: http://127.0.0.2/\r\ncontent-length: 2\r\n\r\nok", b"ok"),
]
