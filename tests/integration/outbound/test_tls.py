"""TLS: certificates are checked for the name; the handshake counts towards the deadline."""

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


async def test_the_name_is_in_handshake_and_host_header(
    guard: Guard, names: Names, authority: Authority
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK), tls=authority.server(NAME)) as peer:
        assert await guard.fetch(peer.url(host=NAME, scheme="https")) == b"ok"
        assert peer.server_name == NAME
        assert f"host: {NAME}:{peer.port}".encode() in peer.received


async def test_an_address_with_a_certificate_is_fetched(guard: Guard, authority: Authority) -> None:
    async with listening(says(OK), tls=authority.server("127.0.0.1")) as peer:
        assert await guard.fetch(peer.url(scheme="https")) == b"ok"


async def assert_tls_error(guard: Guard, url: str) -> None:
    with pytest.raises(FetchFailedError) as caught:
        await guard.fetch(url)
    assert caught.value.reason == "tls"
    assert (
        caught.value.message
        == "could not fetch the image: the host could not be reached or sent no valid response"
    )
    assert caught.value.detail


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates-of-a-stranger"))


@pytest.mark.parametrize(("why", "context"), handshakes.UNTRUSTED)
async def test_a_server_with_an_untrusted_certificate_gets_no_request(
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
    # A peer without a common TLS version may close the connection without an alert.
    assert caught.value.reason in {"tls", "connect"}
    assert (
        caught.value.message
        == "could not fetch the image: the host could not be reached or sent no valid response"
    )


@pytest.mark.parametrize(("why", "context"), handshakes.TRUSTED)
async def test_a_server_with_a_trusted_certificate_is_fetched(
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
async def test_a_failed_handshake_is_a_failed_fetch(
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


async def test_a_redirect_from_https_to_http_is_rejected(
    guard: Guard, names: Names, authority: Authority
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(silence) as plain:
        moved = f"HTTP/1.1 302 Found\r\nlocation: {plain.url()}\r\n\r\n".encode()
        async with listening(says(moved), tls=authority.server(NAME)) as peer:
            with pytest.raises(AddressNotAllowedError):
                await guard.fetch(peer.url(host=NAME, scheme="https"))
        assert plain.connections == 0


async def test_a_redirect_from_http_to_https_is_followed(
    guard: Guard, names: Names, authority: Authority
) -> None:
    names.add(NAME, ["127.0.0.1"])
    async with listening(says(OK), tls=authority.server(NAME)) as peer:
        location = peer.url(host=NAME, scheme="https")
        moved = f"HTTP/1.1 301 Moved\r\nlocation: {location}\r\n\r\n".encode()
        async with listening(says(moved)) as plain:
            assert await guard.fetch(plain.url()) == b"ok"


async def test_certificates_are_verified_against_the_systems_authorities_by_default(
    settings: OutboundSettings,
    names: Names,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contexts = []

    def record_context() -> object:
        contexts.append(httpcore2.default_ssl_context())
        return contexts[-1]

    monkeypatch.setattr("common.outbound.guard.default_ssl_context", record_context)
    names.add(NAME, ["127.0.0.1"])
    guard = Guard(settings, resolver=names)
    async with listening(says(OK), tls=authority.server(NAME)) as peer:
        for _ in range(2):
            await assert_tls_error(guard, peer.url(host=NAME, scheme="https"))
    assert len(contexts) == 1
