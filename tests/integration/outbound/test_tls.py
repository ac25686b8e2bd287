"""Encrypted peers: the name is what counts, and a handshake has no time of its own."""

import asyncio

import httpcore2
import pytest

from common.domain.errors import AddressNotAllowedError, FetchFailedError
from common.outbound import Guard
from common.settings import OutboundSettings
from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.peers import OK, Names, Script, listening, says, silence
from tests.hostile.tables import tls_handshakes as handshakes
from tests.hostile.tables.tls_handshakes import NAME, Context


async def test_name_in_handshake_and_header(
    guard: Guard, names: Names, authority: Authority
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK), tls=authority.server(NAME)) as peer:
        assert await guard.fetch(peer.url(host=NAME, scheme="https")) == b"ok"
        assert peer.server_name == NAME
        assert f"host: {NAME}:{peer.port}".encode() in peer.received


async def test_an_address_with_a_certificate(guard: Guard, authority: Authority) -> None:
    async with listening(says(OK), tls=authority.server("127.0.0.1")) as peer:
        assert await guard.fetch(peer.url(scheme="https")) == b"ok"


async def assert_tls_trouble(guard: Guard, url: str) -> None:
    with pytest.raises(FetchFailedError) as caught:
        await guard.fetch(url)
    assert caught.value.reason == "tls"
    assert caught.value.message == "could not fetch the image: the host sent no usable response"
    assert caught.value.detail


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates-of-a-stranger"))


@pytest.mark.parametrize(("why", "context"), handshakes.UNTRUSTED)
async def test_nothing_is_sent_to_whom_is_not_trusted(
    guard: Guard,
    names: Names,
    authority: Authority,
    stranger: Authority,
    why: str,
    context: Context,
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK), tls=context(authority, stranger)) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url(host=NAME, scheme="https"))
        assert not peer.received, why
    # Who finds no version in common may hang up instead of saying so.
    assert caught.value.reason in {"tls", "connect"}
    assert caught.value.message == "could not fetch the image: the host sent no usable response"


@pytest.mark.parametrize(("why", "context"), handshakes.TRUSTED)
async def test_who_is_trusted(
    guard: Guard,
    names: Names,
    authority: Authority,
    stranger: Authority,
    why: str,
    context: Context,
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK), tls=context(authority, stranger)) as peer:
        assert await guard.fetch(peer.url(host=NAME, scheme="https")) == b"ok", why


@pytest.mark.parametrize(("what", "script", "reason"), handshakes.NO_HANDSHAKE)
async def test_no_handshake(
    guard: Guard, names: Names, what: str, script: Script, reason: str
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await guard.fetch(peer.url(host=NAME, scheme="https"))
        assert caught.value.reason == reason, what
        assert b"GET" not in peer.received


@pytest.mark.parametrize(("what", "script"), handshakes.LISTED_STALLED + handshakes.STALLED)
async def test_a_stalled_handshake_is_cut_off(
    hasty: Guard, names: Names, what: str, script: Script
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(script) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await hasty.fetch(peer.url(host=NAME, scheme="https"))
        assert caught.value.reason == "timeout", what
        await asyncio.wait_for(peer.left.wait(), 5)


async def test_never_from_https_down_to_http(
    guard: Guard, names: Names, authority: Authority
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(silence) as plain:
        moved = f"HTTP/1.1 302 Found\r\nlocation: {plain.url()}\r\n\r\n".encode()
        async with listening(says(moved), tls=authority.server(NAME)) as peer:
            with pytest.raises(AddressNotAllowedError):
                await guard.fetch(peer.url(host=NAME, scheme="https"))
        assert plain.connections == 0


async def test_up_from_http_to_https(guard: Guard, names: Names, authority: Authority) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK), tls=authority.server(NAME)) as peer:
        location = peer.url(host=NAME, scheme="https")
        moved = f"HTTP/1.1 301 Moved\r\nlocation: {location}\r\n\r\n".encode()
        async with listening(says(moved)) as plain:
            assert await guard.fetch(plain.url()) == b"ok"


async def test_the_systems_authorities_are_the_default(
    settings: OutboundSettings,
    names: Names,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def note() -> object:
        made.append(httpcore2.default_ssl_context())
        return made[-1]

    monkeypatch.setattr("common.outbound.guard.default_ssl_context", note)
    names.add(NAME, ["127.0.0.1"])
    guard = Guard(settings, resolver=names)
    async with listening(says(OK), tls=authority.server(NAME)) as peer:
        for _ in range(2):
            await assert_tls_trouble(guard, peer.url(host=NAME, scheme="https"))
    assert len(made) == 1
