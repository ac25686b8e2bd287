"""Internal hosts that the operator opened by name, and what stays closed."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Network, IPv6Network

import pytest

from common.domain.errors import AddressNotAllowedError
from common.outbound import Guard, internal_hosts
from common.settings import OutboundSettings
from tests.hostile.servers.peers import OK, Names, listening, says

# An address on loopback that counts as private in these tests.
PRIVATE = "127.0.0.2"


@pytest.fixture(autouse=True)
def private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internal_hosts, "PRIVATE", (IPv4Network(f"{PRIVATE}/32"),))


@pytest.fixture
async def guard(names: Names) -> AsyncIterator[Guard]:
    settings = OutboundSettings(
        internal_hosts=("app",),
        allowed_ports=frozenset({0}),
        denied_networks=(IPv4Network("127.9.0.0/16"),),
    )
    guard = Guard(settings, resolver=names)
    yield guard
    await guard.aclose()


async def assert_not_allowed(guard: Guard, url: str) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        await guard.fetch(url)
    assert caught.value.message == "the address is not allowed"


async def test_an_opened_host_receives_webhooks_and_sends_images(
    guard: Guard, names: Names
) -> None:
    names.add("app", [PRIVATE])
    async with listening(says(OK), host=PRIVATE) as peer:
        assert await guard.fetch(peer.url(host="app")) == b"ok"
        sent = await guard.post(
            peer.url(host="app"), headers={}, body=b"{}", timeout_seconds=30, response_bytes=10
        )
    assert sent.status == 200
    assert f"\r\nhost: app:{peer.port}\r\n".encode() in peer.received


async def test_another_name_with_the_same_address_stays_closed(guard: Guard, names: Names) -> None:
    names.add("tenant.example", [PRIVATE])
    await assert_not_allowed(guard, "http://tenant.example/")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"])
async def test_an_opened_host_with_a_closed_address_is_rejected(
    guard: Guard, names: Names, address: str
) -> None:
    names.add("app", [PRIVATE, address])
    await assert_not_allowed(guard, "http://app/")


async def test_a_denied_network_stays_denied(
    guard: Guard, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(internal_hosts, "PRIVATE", (IPv4Network("127.0.0.0/8"),))
    names.add("app", ["127.9.0.1"])
    await assert_not_allowed(guard, "http://app/")


async def test_a_redirect_to_an_internal_host_follows_the_same_rule(
    guard: Guard, names: Names
) -> None:
    names.add("app", [PRIVATE])
    async with listening(says(OK), host=PRIVATE) as peer:
        for host, allowed in (("app", True), ("db.local", False)):
            location = peer.url(host=host).encode()
            moved = b"HTTP/1.1 302 Found\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % location
            async with listening(says(moved), host=PRIVATE) as first:
                if allowed:
                    assert await guard.fetch(first.url(host="app")) == b"ok"
                else:
                    with pytest.raises(AddressNotAllowedError):
                        await guard.fetch(first.url(host="app"))


async def test_an_internal_name_is_resolved_by_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))
    monkeypatch.setattr(internal_hosts, "PRIVATE", loopback)
    settings = OutboundSettings.model_validate(
        {
            "internal_hosts": ["localhost"],
            "allowed_ports": [0],
            "nameservers": ["127.0.0.1:9"],  # nothing listens there
        }
    )
    guard = Guard(settings)
    try:
        async with listening(says(OK)) as peer:
            assert await guard.fetch(peer.url(host="localhost")) == b"ok"
    finally:
        await guard.aclose()
