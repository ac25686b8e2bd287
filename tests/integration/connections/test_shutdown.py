"""A server that stops serves what has arrived, and closes connections in order."""

import gc

from api.connections.connection import Connection
from tests.integration.connections.site import serving
from tests.integration.connections.test_deadlines import wait_until

WHOLE = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"


def test_pipelined_requests_are_served_when_the_server_stops() -> None:
    with serving() as site:
        client, idle, unfinished = site.connect(), site.connect(), site.connect()
        idle.send(WHOLE)
        assert idle.read()
        unfinished.send(WHOLE[:10])
        client.send(HOLD + WHOLE + WHOLE)
        wait_until(lambda: site.app.held == 1)
        site.server.should_exit = True  # waiting requests are woken
        responses = client.read_all()
        assert [response.body["path"] for response in responses] == ["/hold", "/echo", "/echo"]
        assert [response.headers.get("connection") for response in responses] == [
            None,
            None,
            "close",
        ]
        assert idle.read_all() == unfinished.read_all() == []


def test_a_request_that_arrives_just_after_the_signal_is_served() -> None:
    with serving(linger_seconds=3.0) as site:
        client = site.connect()
        client.send(WHOLE)
        assert client.read()
        site.server.should_exit = True
        wait_until(lambda: site.table.stopping)
        client.send(WHOLE)
        (response,) = client.read_all()
        assert response.headers["connection"] == "close"


def test_a_closed_connection_leaves_nothing_to_the_garbage_collector() -> None:
    with serving() as site:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                assert [one.status for one in site.exchange(CLOSING)] == [200]
            wait_until(lambda: not site.open_connections())
            wait_until(lambda: not any(isinstance(one, Connection) for one in gc.get_objects()))
        finally:
            gc.enable()
