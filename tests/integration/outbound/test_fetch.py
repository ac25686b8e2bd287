"""Fetching an image: what is taken, what is refused, what is cut off."""

import asyncio
import gzip

import pytest

from common.domain.errors import FetchFailedError, FetchRejectedError
from common.outbound import Guard
from tests.integration.outbound.conftest import MAX_BYTES
from tests.integration.outbound.peers import (
    OK,
    Script,
    listening,
    repeats,
    says,
    says_and_stays,
    silence,
)

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
UPGRADE = b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nSSH-2.0"
MAX = b"x" * MAX_BYTES


@pytest.mark.parametrize(
    ("answer", "image"),
    [
        (OK, b"ok"),
        (HEAD + b"content-length: 0\r\n\r\n", b""),
        (HEAD + b"\r\nuntil the end", b"until the end"),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok"),
        (CHUNKED + b"1;a=b\r\no\r\n1\r\nk\r\n0\r\ntrailer: x\r\n\r\n", b"ok"),
        (HEAD + b"content-encoding: Identity\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (HEAD + f"content-length: {MAX_BYTES}\r\n\r\n".encode() + MAX, MAX),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
        (HEAD + b"x-name: \xc3\xa4\xff\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (HEAD + b"content-length: 2\r\n\r\nok and more", b"ok"),
    ],
)
async def test_taken(guard: Guard, answer: bytes, image: bytes) -> None:
    async with listening(says(answer)) as peer:
        assert await guard.fetch(peer.url()) == image


REJECTED = [
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "HTTP 404"),
    (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "HTTP 410"),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"),
    (b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", "HTTP 302"),
    (b"HTTP/1.1 300 Choices\r\nlocation: /x\r\n\r\n", "HTTP 300"),
    (b"HTTP/1.1 999 Whatever\r\ncontent-length: 0\r\n\r\n", "HTTP 999"),
    (HEAD + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(10**6)), "compressed"),
    (HEAD + b"content-encoding: br\r\ncontent-length: 10000000\r\n\r\n", "compressed"),
    (HEAD + b"content-encoding: identity\r\ncontent-encoding: gzip\r\n\r\n", "compressed"),
    (HEAD + f"content-length: {MAX_BYTES + 1}\r\n\r\n".encode(), "too large"),
    (HEAD + b"\r\n" + MAX + b"x", "too large"),
]


@pytest.mark.parametrize(("answer", "told"), REJECTED)
async def test_rejected_for_good(guard: Guard, answer: bytes, told: str) -> None:
    """The peer stays on the line: the answer is known without waiting for its end."""
    async with listening(says_and_stays(answer)) as peer:
        with pytest.raises(FetchRejectedError) as caught:
            await guard.fetch(peer.url())
        assert caught.value.message.startswith("could not fetch the image: ")
        assert told in caught.value.message
        await asyncio.wait_for(peer.left.wait(), 5)


@pytest.mark.parametrize("status", [500, 502, 503, 599])
async def test_trouble_of_the_far_side(guard: Guard, status: int) -> None:
    answer = f"HTTP/1.1 {status} Oh\r\ncontent-length: 6\r\n\r\nbanner".encode()
    async with listening(says(answer)) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url())
    assert caught.value.reason == "http_5xx"
    assert caught.value.message == f"could not fetch the image: HTTP {status}"


BROKEN: list[tuple[str, Script]] = [
    ("says nothing", says(b"")),
    ("hangs up in the head", says(HEAD)),
    ("speaks another protocol", says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    ("old protocol", says(b"<html>hello</html>\r\n\r\n")),
    ("ends too soon", says(HEAD + b"content-length: 10\r\n\r\nok")),
    ("ends in a chunk", says(CHUNKED + b"ff\r\nok")),
    ("no chunk length", says(CHUNKED + b"zz\r\nok\r\n0\r\n\r\n")),
    ("two lengths", says(HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nok")),
    ("negative length", says(HEAD + b"content-length: -1\r\n\r\nok")),
    ("length of digits", says(HEAD + b"content-length: " + b"9" * 9000 + b"\r\n\r\nok")),
    ("length not ASCII", says(HEAD + "content-length: ²\r\n\r\nok".encode())),
    ("strange coding", says(HEAD + b"transfer-encoding: gzip\r\n\r\nok")),
    ("header of NUL", says(HEAD + b"x: a\0b\r\n\r\n")),
    ("changes protocol unasked", says_and_stays(UPGRADE)),
    ("header too large", says_and_stays(HEAD + b"x: " + b"a" * 20_000 + b"\r\n\r\nok")),
    ("too many headers", says_and_stays(HEAD + b"x: a\r\n" * 5_000 + b"\r\nok")),
    ("endless headers", repeats(HEAD, b"x: a\r\n")),
    ("endless interim answers", repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("endless chunk extensions", repeats(CHUNKED, b"1;" + b"a" * 4000 + b"\r\nx\r\n")),
    ("endless trailers", repeats(CHUNKED + b"0\r\n", b"x: a\r\n")),
]


@pytest.mark.parametrize(("what", "script"), BROKEN, ids=[what for what, _ in BROKEN])
async def test_no_proper_answer(guard: Guard, what: str, script: Script) -> None:
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url())
        assert caught.value.reason == "protocol", what
        assert caught.value.message == "could not fetch the image: the host gave no usable answer"
        assert caught.value.detail
        await asyncio.wait_for(peer.left.wait(), 5)


async def test_endless_chunks_are_cut_off(guard: Guard) -> None:
    async with listening(repeats(CHUNKED, b"64\r\n" + b"x" * 100 + b"\r\n")) as peer:
        with pytest.raises(FetchRejectedError, match="too large, at most 1000 bytes"):
            await guard.fetch(peer.url())
        await asyncio.wait_for(peer.left.wait(), 5)


SLOW: list[tuple[str, Script]] = [
    ("says nothing", silence),
    ("drips a head", repeats(HEAD + b"x: ", b"a", pause_seconds=0.02)),
    ("drips a body", repeats(HEAD + b"content-length: 999\r\n\r\n", b"a", pause_seconds=0.02)),
    ("drips chunks", repeats(CHUNKED, b"1\r\na\r\n", pause_seconds=0.02)),
    ("stops in the body", says_and_stays(HEAD + b"content-length: 3\r\n\r\nok")),
    ("never ends", says_and_stays(HEAD + b"\r\nok")),
]


@pytest.mark.parametrize(("what", "script"), SLOW, ids=[what for what, _ in SLOW])
async def test_cut_off_by_the_one_deadline(hasty: Guard, what: str, script: Script) -> None:
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await hasty.fetch(peer.url())
        assert caught.value.reason == "timeout", what
        assert caught.value.message == "could not fetch the image: timed out"
        await asyncio.wait_for(peer.left.wait(), 5)
