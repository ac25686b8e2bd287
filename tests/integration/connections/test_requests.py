"""What is read as a request and what is not: input, and the responses to it."""

from collections.abc import Iterator

import pytest

from tests.integration.connections.site import Site, serving

HEAD = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
LENGTH = HEAD + b"Content-Length: 3\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
CLOSE = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


MALFORMED = {
    "length and chunks": CHUNKED + b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": LENGTH + b"Content-Length: 3\r\n\r\nabc",
    "a list of lengths": HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "a header on two lines": HEAD + b"A: b\r\n c\r\n\r\n",
    "a folded line after the first": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "a folded upgrade": HEAD + b"Upgrade: h2c\r\n x: y\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n",
    "an upgrade after a bare line feed": b"GET / HTTP/1.1\r\nHost: a\nUpgrade: h2c\r\n\r\n",
    "an empty line without carriage return": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "a carriage return in a value": HEAD + b"A: a\rb\r\n\r\n",
    "a zero byte": HEAD + b"A: a\0b\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "an upgrade with a space": HEAD + b"Upgrade : h2c\r\n\r\n",
    "an empty header name": HEAD + b": a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two codings": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks before another coding": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk size with a space": CHUNKED + b"\r\n3 \r\nabc\r\n0\r\n\r\n",
    "a chunk size with a sign": CHUNKED + b"\r\n+3\r\nabc\r\n0\r\n\r\n",
    "a chunk size with bare line feeds": CHUNKED + b"\r\n3\nabc\n0\n\n",
    "a chunk longer than its size": CHUNKED + b"\r\n2\r\nabc\r\n0\r\n\r\n",
    "a chunk size of 17 digits": CHUNKED + b"\r\n10000000000000003\r\nabc\r\n",
    "a length in a trailer": CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
    "no method": b"/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab after the method": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the URL": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL that is not ASCII": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL without a path": b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "many empty lines": b"\r\n" * 6 + CLOSE,
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_end_the_connection(site: Site, sent: bytes) -> None:
    # A second request that the server must not read as one of its own.
    (response,) = site.exchange(sent + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert response.status in {400, 501}
    assert response.headers["connection"] == "close"
    assert response.body["status"] == "error"
    assert response.body["message"].endswith(".")


LIMITS = {
    "a method for proxies": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a compressed body": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "a long URL": (b"GET /" + b"x" * 8192 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "an endless URL": (b"GET /" + b"x" * 20_000, 414),
    "many headers": (HEAD + b"A: b\r\n" * 100 + b"\r\n", 431),
    "a large header": (HEAD + b"A: " + b"b" * 40_000 + b"\r\n\r\n", 431),
    "endless headers": (HEAD + b"A: bbbbbbbbbb\r\n" * 5_000, 431),
    "endless headers with one name": (HEAD + b"A" * 40_000, 431),
    "endless chunk extensions": (CHUNKED + b"\r\n3;x=" + b"y" * 20_000, 400),
    "endless trailers": (CHUNKED + b"\r\n3\r\nabc\r\n0\r\n" + b"T: rrrrr\r\n" * 3_000, 400),
    "tiny chunks": (CHUNKED + b"\r\n" + b"1\r\na\r\n" * 10_000, 400),
}


@pytest.mark.parametrize(("sent", "status"), LIMITS.values(), ids=LIMITS)
def test_requests_over_a_limit_end_the_connection(site: Site, sent: bytes, status: int) -> None:
    (response,) = site.exchange(sent)
    assert response.status == status
    assert response.headers["connection"] == "close"
    assert response.body["status"] == "error"


SERVED = {
    "a length": LENGTH + b"\r\nabc",
    "chunks": CHUNKED + b"\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
    "chunks with extensions": CHUNKED + b'\r\n3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n',
    "trailers": CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX-Trailer: t\r\nUpgrade: h2c\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + LENGTH + b"\r\nabc",
    "an upgrade to h2c": LENGTH + H2C + b"\r\nabc",
    "an upgrade to h2c with chunks": CHUNKED + H2C + b"\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    "an upgrade to WebSocket": LENGTH + b"UPGRADE: websocket\r\nconnection: upgrade\r\n\r\nabc",
    "an upgrade to anything": LENGTH
    + b"Upgrade: x/1, y\r\nConnection: keep-alive, Upgrade\r\n\r\nabc",
}


@pytest.mark.parametrize("pieces", [1, 2, 3, 10_000], ids=["whole", "halves", "thirds", "bytes"])
@pytest.mark.parametrize("sent", SERVED.values(), ids=SERVED)
def test_a_body_belongs_to_its_request(site: Site, sent: bytes, pieces: int) -> None:
    stream = sent + CLOSE
    size = max(1, len(stream) // pieces)
    first, second = site.exchange(*(stream[at : at + size] for at in range(0, len(stream), size)))
    assert (first.status, first.body["path"], first.body["body"]) == (200, "/echo", "abc")
    assert not {"upgrade", "ignored", "x-trailer"} & set(first.body["headers"])
    assert (second.status, second.body["path"], second.body["length"]) == (200, "/last", 0)


def test_the_head_and_the_body_may_come_in_packets_of_their_own(site: Site) -> None:
    for head, body in ((LENGTH, b"abc"), (CHUNKED, b"3\r\nabc\r\n0\r\n\r\n")):
        responses = site.exchange(head + H2C + b"\r\n", body, CLOSE)
        assert [response.body["body"] for response in responses] == ["abc", ""]


def test_many_pipelined_requests_are_served_in_order(site: Site) -> None:
    requests = [
        b"POST /echo?%d HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n" % n + b"x" * 500
        for n in range(200)
    ]
    *responses, last = site.exchange(b"".join(requests) + CLOSE)
    assert [response.body["query"] for response in responses] == [str(n) for n in range(200)]
    assert last.body["path"] == "/last"


def test_the_parts_of_a_url_arrive(site: Site) -> None:
    sent = b"GET http://a/b%20c?d=%20e HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    (response,) = site.exchange(sent)
    assert (response.body["path"], response.body["query"]) == ("/b c", "d=%20e")


def test_http_1_0_is_served(site: Site) -> None:
    (response,) = site.exchange(b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    assert response.body["body"] == "abc"
    assert response.headers["connection"] == "close"
