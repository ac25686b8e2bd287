"""Fetching an image: what is taken, what is refused at the hop, what is cut off."""

import asyncio
import gzip

import pytest

from common.domain.errors import AddressNotAllowedError, FetchFailedError, FetchRejectedError
from common.outbound import Guard
from tests.integration.outbound.conftest import MAX_BYTES
from tests.integration.outbound.peers import (
    OK,
    Names,
    Peer,
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


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\n\r\n".encode()


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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(guard: Guard, status: int) -> None:
    hops = [redirect(location, status) for location in ("/2?a=b", "3", "//127.0.0.1:{port}/4")]
    async with listening(silence) as spare:
        pass
    answers = [hop.replace(b"{port}", str(spare.port).encode()) for hop in hops]
    async with listening(says(*answers, OK), port=spare.port) as peer:
        assert await guard.fetch(peer.url("/1")) == b"ok"
        lines = [line for line in peer.received.split(b"\r\n") if line.startswith(b"GET")]
    assert [line.split()[1] for line in lines] == [b"/1", b"/2?a=b", b"/3", b"/4"]
    assert peer.connections == 4


async def test_a_loop_ends_after_three(guard: Guard) -> None:
    async with listening(says(redirect("/"))) as peer:
        with pytest.raises(FetchRejectedError, match="too many redirects"):
            await guard.fetch(peer.url())
    assert peer.connections == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://127.2:{port}/",
        "http://2130706434:{port}/",
        "http://0x7f000002:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://user@127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://inside.example:{port}/",
        "http://mixed.example:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://①②⑦.⓪.⓪.②:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.2:{port}/_x",
        "data:image/png;base64,AAAA",
        "http://127.0.0.1:{port} /",
        "http://\udcff.example/",
    ],
)
async def test_refused_at_the_hop(
    guard: Guard, names: Names, forbidden: Peer, location: str
) -> None:
    names.add("inside.example", ["127.0.0.2"])
    names.add("mixed.example", ["127.0.0.1", "127.0.0.2"])
    target = location.replace("{port}", str(forbidden.port))
    answer = b"HTTP/1.1 302 Found\r\nlocation: %b\r\n\r\n" % target.encode(
        "utf-8", "surrogateescape"
    )
    async with listening(says(answer)) as peer:
        with pytest.raises(AddressNotAllowedError) as caught:
            await guard.fetch(peer.url())
        assert caught.value.message == "the address is not allowed"
        assert peer.connections == 1


async def test_two_locations_are_refused(guard: Guard, forbidden: Peer) -> None:
    answer = redirect("/").replace(
        b"\r\n\r\n", b"\r\nlocation: " + forbidden.url().encode() + b"\r\n\r\n"
    )
    async with listening(says(answer)) as peer:
        with pytest.raises(AddressNotAllowedError):
            await guard.fetch(peer.url())


async def test_a_name_that_changes_between_hops(
    guard: Guard, names: Names, forbidden: Peer
) -> None:
    names.add("images.example", ["127.0.0.1"], ["127.0.0.2"])
    async with listening(says(redirect("/next")), port=forbidden.port) as peer:
        with pytest.raises(AddressNotAllowedError):
            await guard.fetch(peer.url(host="images.example"))
        assert peer.connections == 1


async def test_redirects_share_the_one_deadline(hasty: Guard) -> None:
    async with listening(silence) as slow, listening(says(redirect(slow.url()))) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await hasty.fetch(peer.url())
    assert caught.value.reason == "timeout"
