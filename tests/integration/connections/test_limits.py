"""At a limit of connections the least valuable one is closed; healthy clients are served."""

from ipaddress import ip_network

from tests.integration.connections.site import Client, Response, Site, serving
from tests.integration.connections.test_deadlines import wait_until

WHOLE = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: a\r\n"
HALF = b"GET /echo HTTP/1.1\r\nHost"
BODY = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"


def ask(client: Client, request: bytes = WHOLE) -> Response:
    client.send(request)
    response = client.read()
    assert response is not None
    return response


def begin(site: Site, sent: bytes, source: str = "127.0.0.1") -> Client:
    """Open a connection, and wait until the server has it."""
    before = site.open_connections()
    client = site.connect(source)
    client.send(sent)
    wait_until(lambda: site.open_connections() > before)
    return client


def test_the_idle_connection_is_closed_first_then_the_oldest_unfinished_ones() -> None:
    with serving(connections=4, per_address=100) as site:
        body, head = begin(site, BODY), begin(site, HALF)
        old, young = site.connect(), site.connect()
        assert ask(old).status == ask(young).status == 200
        newcomers = []
        for closed in (old, young, head, body):
            newcomers.append(newcomer := site.connect())
            newcomer.send(HOLD + b"\r\n")
            wait_until(lambda: site.app.held == len(newcomers))
            statuses = [response.status for response in closed.read_all()]
            assert statuses == ([] if closed in {old, young} else [503])
        # Each of the four now has a complete request, which is never given up.
        (refused,) = site.exchange(WHOLE)
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert refused.headers["retry-after"] == "1"
        site.release()
        served = [newcomer.read() for newcomer in newcomers]
        assert [response.status for response in served if response] == [200] * 4


def test_an_unfinished_flood_does_not_keep_a_healthy_client_out() -> None:
    with serving(connections=50, per_address=40) as site:
        hostile = [site.connect(f"127.0.0.{2 + n % 5}") for n in range(300)]
        for client in hostile:
            client.send(HALF)
        assert [ask(site.connect()).status for _ in range(100)] == [200] * 100
        assert site.open_connections() <= 50


def test_an_address_has_a_limit_of_its_own() -> None:
    with serving(connections=100, per_address=2) as site:
        held = [begin(site, HOLD + b"\r\n", "127.0.0.9") for _ in range(2)]
        wait_until(lambda: site.app.held == 2)
        refused = ask(site.connect("127.0.0.9"))
        assert refused.status == 429
        assert ask(site.connect("127.0.0.8")).status == 200
        site.release()
        assert all(client.read() for client in held)
        assert ask(site.connect("127.0.0.9")).status == 200


def test_behind_a_trusted_proxy_requests_are_counted_by_the_forwarded_address() -> None:
    proxies = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))
    with serving(connections=100, per_address=2, trusted_proxies=proxies) as site:
        attacker = (
            b"X-Forwarded-For: 198.51.100.7, 203.0.113.5\r\nX-Forwarded-For: 10.0.0.3\r\n\r\n"
        )
        waiting = [begin(site, HOLD + attacker) for _ in range(2)]
        wait_until(lambda: site.app.held == 2)
        refused = ask(site.connect(), HOLD + attacker)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        # What the client itself wrote does not count, nor does the number of connections.
        others = [site.connect() for _ in range(10)]
        other = b"GET /echo HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.5, 192.0.2.1\r\n\r\n"
        assert [ask(client, other).body["client"] for client in others] == ["192.0.2.1"] * 10
        waiting[0].close()
        wait_until(lambda: sum(site.table._requests.values()) == 1)  # the table runs in a thread
        site.release()
        assert waiting[1].read()
        assert ask(site.connect(), WHOLE[:-2] + attacker).status == 200
