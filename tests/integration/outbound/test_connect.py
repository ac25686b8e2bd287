"""Addresses rejected at connect, checked at a listener that must not be contacted."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from common.domain.errors import AddressNotAllowedError, FetchFailedError
from common.outbound import Guard, connector
from common.outbound.address import Address
from common.settings import OutboundSettings
from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.peers import OK, Names, Peer, listening, says, silence

NAME = "images.example"


async def assert_not_allowed(guard: Guard, url: str) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        await guard.fetch(url)
    assert caught.value.message == "the address is not allowed"
    with pytest.raises(AddressNotAllowedError):
        await guard.post(url, headers={}, body=b"{}", timeout_seconds=5, response_bytes=10)


async def test_a_url_with_a_forbidden_address_is_rejected(guard: Guard, forbidden: Peer) -> None:
    await assert_not_allowed(guard, forbidden.url())


async def test_a_public_address_of_this_machine_is_rejected(
    guard: Guard, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not every machine that runs the tests has a public address of its own.
    monkeypatch.setattr(connector, "is_this_machine", lambda address: str(address) == "8.8.8.8")
    names.add(NAME, ["8.8.8.8"])
    await assert_not_allowed(guard, f"http://{NAME}/")
    await assert_not_allowed(guard, "http://8.8.8.8/")


@pytest.mark.parametrize(
    ("address", "own"),
    [
        (IPv4Address("127.0.0.1"), True),
        (IPv4Address("127.0.0.2"), False),  # reachable, but packets to it leave from 127.0.0.1
        (IPv4Address("255.255.255.255"), False),  # no socket may connect there
        (IPv6Address("ff02::1"), False),
    ],
)
def test_is_this_machine(address: Address, *, own: bool) -> None:
    assert connector.is_this_machine(address) is own


async def test_the_host_header_has_the_name(guard: Guard, names: Names) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK)) as peer:
        await guard.fetch(peer.url("/a?b=c#d", host=f"{NAME.upper()}."))
        assert peer.received.startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert f"\r\nhost: {NAME}:{peer.port}\r\n".encode() in peer.received
        assert b"\r\naccept-encoding: identity\r\n" in peer.received
        assert b"\r\nconnection: close\r\n" in peer.received


async def test_the_next_address_is_tried(guard: Guard, names: Names) -> None:
    async with listening(says(OK)) as peer:
        names.add(NAME, ["127.0.0.3", "127.0.0.1"])  # no server listens on the first
        assert await guard.fetch(peer.url(host=NAME)) == b"ok"


async def test_a_dead_address_leaves_time_for_the_next(
    guard: Guard, names: Names, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "ATTEMPT_SECONDS", 0.1)
    names.add(NAME, ["127.0.0.3", "127.0.0.1"])
    tls = authority.server(NAME)
    async with (
        listening(says(OK), tls=tls) as peer,
        listening(silence, host="127.0.0.3", port=peer.port) as dead,
    ):
        assert await guard.fetch(peer.url(host=NAME, scheme="https")) == b"ok"
        assert dead.connections == 1
        await asyncio.wait_for(dead.left.wait(), 5)


async def test_a_rejected_connection_is_a_failed_fetch(guard: Guard, names: Names) -> None:
    async with listening(silence) as gone:
        pass
    names.add(NAME, ["127.0.0.1"])
    with pytest.raises(FetchFailedError) as caught:
        await guard.fetch(gone.url(host=NAME))
    assert caught.value.reason == "connect"
    assert (
        caught.value.message
        == "could not fetch the image: the host could not be reached or sent no valid response"
    )
    assert str(gone.port) in caught.value.detail


class BrokenResolver:
    """Resolver that fails in a given way."""

    def __init__(self, failure: OSError | None) -> None:
        self.failure = failure

    async def __call__(self, _host: str, _port: int) -> list[Address]:
        if self.failure:
            raise self.failure
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize(
    "resolver",
    [
        BrokenResolver(socket.gaierror(-2, "Name or service not known")),
        BrokenResolver(TimeoutError()),
        BrokenResolver(None),
    ],
    ids=["unknown", "time-out", "hung"],
)
async def test_a_failed_look_up_is_a_failed_fetch(
    settings: OutboundSettings, resolver: BrokenResolver
) -> None:
    guard = Guard(settings.model_copy(update={"dns_timeout_seconds": 0.1}), resolver=resolver)
    with pytest.raises(FetchFailedError) as caught:
        await guard.fetch("http://images.example/")
    assert caught.value.reason == "dns"
    assert (
        caught.value.message
        == "could not fetch the image: the host could not be reached or sent no valid response"
    )
    assert caught.value.detail


async def test_a_name_without_addresses_is_a_failed_fetch(guard: Guard, names: Names) -> None:
    names.add(NAME, [])
    with pytest.raises(FetchFailedError) as caught:
        await guard.fetch(f"http://{NAME}/")
    assert caught.value.reason == "dns"


async def test_the_environment_does_not_configure_the_guard(
    guard: Guard, names: Names, forbidden: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, forbidden.url())
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {NAME} login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK)) as peer:
        assert await guard.fetch(peer.url(host=NAME)) == b"ok"
        assert b"authorization" not in peer.received.lower()
