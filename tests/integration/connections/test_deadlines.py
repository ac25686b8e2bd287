"""Slow clients are disconnected, each within its deadline; clients that wait are not slow."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY

from tests.integration.connections.site import PATIENCE_SECONDS, Client, Site, serving

HEAD = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SHORT = 0.4  # seconds
WHOLE = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(reason: str) -> float:
    labels = {"reason": reason}
    return REGISTRY.get_sample_value("infill_connections_refused_total", labels) or 0.0


@contextmanager
def dripping(client: Client, piece: bytes) -> Iterator[None]:
    """Send a piece again and again, until the server does not take it any more."""
    ended = threading.Event()

    def drip() -> None:
        try:
            while not ended.wait(0.02):
                client.send(piece)
        except OSError:
            return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


SLOW = {
    "a slow head": (b"GET /slow HTTP/1.1\r\nHost: a\r\nA: ", b"x", "head_timeout"),
    "a slow body": (HEAD + b"Content-Length: 5000\r\n\r\n", b"x", "body_timeout"),
    "a slow chunked body": (CHUNKED, b"1\r\na\r\n", "body_timeout"),
    "a slow chunk size": (CHUNKED + b"5;", b"x", "body_timeout"),
    "slow trailers": (CHUNKED + b"0\r\nA: ", b"x", "body_timeout"),
}


@pytest.mark.parametrize(("begin", "piece", "reason"), SLOW.values(), ids=SLOW)
def test_a_slow_request_is_refused(begin: bytes, piece: bytes, reason: str) -> None:
    before = refused(reason)
    with serving(head_seconds=SHORT, body_seconds=SHORT) as site:
        client = site.connect()
        client.send(begin)
        with dripping(client, piece):
            response = client.read()
        assert response is not None
        assert (response.status, response.headers["connection"]) == (408, "close")
        if reason == "body_timeout":
            wait_until(lambda: site.app.disconnected == 1)
    assert refused(reason) == before + 1


def test_a_second_request_has_a_deadline_too() -> None:
    with serving(head_seconds=SHORT) as site:
        client = site.connect()
        client.send(WHOLE + b"GET /slow HTT")
        assert [response.status for response in client.read_all()] == [200, 408]


def test_a_silent_connection_is_closed_without_a_response() -> None:
    with serving(head_seconds=SHORT) as site:
        assert site.exchange() == []


def test_an_idle_connection_is_closed_without_a_response() -> None:
    with serving(idle_seconds=SHORT) as site:
        assert [response.status for response in site.exchange(WHOLE)] == [200]


def test_a_client_that_does_not_read_is_disconnected() -> None:
    before = refused("response_timeout")
    with serving(response_seconds=SHORT) as site:
        client = site.connect()
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: refused("response_timeout") > before)
        wait_until(lambda: not site.open_connections())


def test_a_client_that_waits_for_its_response_is_not_slow() -> None:
    with serving(head_seconds=SHORT, body_seconds=SHORT, response_seconds=SHORT) as site:
        waiting, witness = site.connect(), site.connect()
        waiting.send(b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        slow_after_that(site, witness)
        site.release()
        response = waiting.read()
        assert response is not None
        assert response.body["body"] == "abc"


def test_a_client_that_waits_for_100_continue_is_not_slow() -> None:
    with serving(body_seconds=SHORT) as site:
        waiting, witness = site.connect(), site.connect()
        waiting.send(
            b"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        slow_after_that(site, witness)
        site.release()
        interim = waiting.read()
        assert interim is not None
        assert interim.status == 100
        waiting.send(b"abc")
        response = waiting.read()
        assert response is not None
        assert response.body["body"] == "abc"


def slow_after_that(site: Site, witness: Client) -> None:
    """Wait until a request with a slow body, begun after /hold was reached, is refused."""
    wait_until(lambda: site.app.held == 1)
    witness.send(HEAD + b"Content-Length: 5000\r\n\r\n")
    response = witness.read()
    assert response is None or response.status == 408


def test_a_body_at_the_least_rate_is_read_to_its_end() -> None:
    # 100 kB in pieces of 1 kB: far longer than the time-out alone would allow.
    with serving(body_seconds=2.0, bytes_per_second=2_000.0) as site:
        client = site.connect()
        client.send(HEAD + b"Content-Length: 100000\r\n\r\n")
        with dripping(client, b"x" * 1000):
            response = client.read()
        assert response is not None
        assert response.status == 200
        assert response.body["length"] == 100_000


def wait_until(reached: Callable[[], bool]) -> None:
    """Wait for a state of the server's thread."""
    ticks = threading.Event()
    for _ in range(PATIENCE_SECONDS * 50):
        if reached():
            return
        ticks.wait(0.02)
    pytest.fail("the state was not reached")
