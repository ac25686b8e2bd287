"""Which client a connection or a forwarded request is counted for."""

from ipaddress import ip_address, ip_network

import pytest

from api.connections.addresses import TrustedProxies, client_key, parse_address

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")])

CASES = {
    "no header": ("10.0.0.1", [], "10.0.0.1"),
    "one address": ("10.0.0.1", [b"192.0.2.7"], "192.0.2.7"),
    "a claim of the client": ("10.0.0.1", [b"198.51.100.1, 192.0.2.7"], "192.0.2.7"),
    "a chain of proxies": ("10.0.0.1", [b"192.0.2.7, 10.1.1.1,10.2.2.2"], "192.0.2.7"),
    "several headers": ("10.0.0.1", [b"192.0.2.7", b"10.1.1.1"], "192.0.2.7"),
    "only proxies": ("10.0.0.1", [b"10.1.1.1"], "10.1.1.1"),
    "a port": ("10.0.0.1", [b"192.0.2.7:5000"], "192.0.2.7"),
    "IPv6 with a port": ("10.0.0.1", [b"[2001:db8::7]:5000"], "2001:db8::7"),
    "IPv6": ("2001:db8:1::1", [b"2001:db8::7"], "2001:db8::7"),
    "IPv4 in IPv6": ("10.0.0.1", [b"::ffff:192.0.2.7"], "192.0.2.7"),
    "not an address": ("10.0.0.1", [b"192.0.2.7, unknown, 10.1.1.1"], "10.1.1.1"),
    "not ASCII": ("10.0.0.1", [b"\xff"], "10.0.0.1"),
    "an untrusted peer": ("192.0.2.9", [b"192.0.2.7"], "192.0.2.9"),
}


@pytest.mark.parametrize(("peer", "headers", "client"), CASES.values(), ids=CASES)
def test_the_rightmost_untrusted_address_is_the_client(
    peer: str, headers: list[bytes], client: str
) -> None:
    assert str(PROXIES.find_client(ip_address(peer), headers)) == client


def test_a_network_of_ipv6_is_one_client() -> None:
    assert client_key(ip_address("2001:db8::1")) == client_key(ip_address("2001:db8::ffff:1"))
    assert client_key(ip_address("2001:db8::1")) != client_key(ip_address("2001:db8:0:1::1"))
    assert client_key(ip_address("192.0.2.1")) == "192.0.2.1"


def test_addresses_of_sockets_are_parsed() -> None:
    assert parse_address("fe80::1%eth0") == ip_address("fe80::1")
    assert parse_address("::ffff:192.0.2.1") == ip_address("192.0.2.1")
    assert parse_address("") is None
