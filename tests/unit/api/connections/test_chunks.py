"""The scanner finds the end of a chunked body wherever the bytes are cut."""

import pytest

from api.connections.chunks import OVERHEAD_BYTES, ChunkScanner
from api.connections.http_error import HttpError

BODY = b"5;a=b\r\nhello\r\n10\r\n" + b"\r\n0\r\n\r\n0123456789"[:16] + b"\r\n0\r\nT: r\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_end_is_found(size: int) -> None:
    scanner = ChunkScanner()
    stream = BODY + b"GET / HTTP/1.1\r\n"
    taken = 0
    for at in range(0, len(stream), size):
        taken += scanner.scan(stream[at : at + size])
    assert scanner.ended
    assert taken == len(BODY)


@pytest.mark.parametrize("line", [b"\r\n", b"g\r\n", b"-1\r\n", b"1_0\r\n", b" 1\r\n", b"1\n"])
def test_a_size_that_is_no_number_is_an_error(line: bytes) -> None:
    with pytest.raises(HttpError):
        ChunkScanner().scan(line)


def test_a_large_body_may_have_more_overhead() -> None:
    chunk = b"80\r\n" + b"x" * 128 + b"\r\n"
    scanner = ChunkScanner()
    for _ in range(10 * OVERHEAD_BYTES // len(chunk)):
        scanner.scan(chunk)
    assert not scanner.ended
