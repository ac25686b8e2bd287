"""Hostile name servers cannot get past the outbound guard (`tests.hostile.tables.dns_names`)."""

from collections.abc import AsyncIterator

import dns.flags
import pytest

from common.domain.errors import AddressNotAllowedError, FetchFailedError
from common.outbound import Guard
from common.settings import OutboundSettings
from common.settings.outbound import parse_nameserver
from tests.hostile.servers.dns_server import NameServer, Script, answering, records
from tests.hostile.servers.peers import OK, Peer, listening, says, silence
from tests.hostile.tables import dns_names as names

NAME = "images.example"


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with answering() as server:
        yield server


@pytest.fixture
async def asking(settings: OutboundSettings, server: NameServer) -> AsyncIterator[Guard]:
    """Return a guard that uses the hostile name server."""
    ours = (parse_nameserver(f"127.0.0.1:{server.port}"),)
    guard = Guard(settings.model_copy(update={"nameservers": ours}))
    yield guard
    await guard.aclose()


@pytest.fixture
async def impatient(settings: OutboundSettings, server: NameServer) -> AsyncIterator[Guard]:
    """Return the same with a short timeout."""
    ours = (parse_nameserver(f"127.0.0.1:{server.port}"),)
    guard = Guard(settings.model_copy(update={"nameservers": ours, "dns_timeout_seconds": 0.15}))
    yield guard
    await guard.aclose()


async def assert_not_allowed(guard: Guard, url: str) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        await guard.fetch(url)
    assert caught.value.message == "the address is not allowed"
    with pytest.raises(AddressNotAllowedError):
        await guard.post(url, headers={}, body=b"{}", timeout_seconds=5, response_bytes=10)


@pytest.mark.parametrize(("why", "script"), names.LISTED + names.REFUSED)
async def test_names_with_forbidden_addresses_are_rejected_at_connect(
    asking: Guard, server: NameServer, forbidden: Peer, why: str, script: Script
) -> None:
    server.add(NAME, script)
    async with listening(silence, port=forbidden.port) as allowed:
        await assert_not_allowed(asking, allowed.url(host=NAME))
        assert allowed.connections == 0, why


@pytest.mark.parametrize(("why", "script"), names.NO_ANSWER)
async def test_a_look_up_without_a_usable_response_opens_no_connection(
    impatient: Guard, server: NameServer, forbidden: Peer, why: str, script: Script
) -> None:
    server.add(NAME, script)
    async with listening(silence, port=forbidden.port) as allowed:
        with pytest.raises(FetchFailedError) as caught:
            await impatient.fetch(allowed.url(host=NAME))
        assert allowed.connections == 0, why
    assert caught.value.reason == "dns"
    assert (
        caught.value.message
        == "could not fetch the image: the host could not be reached or sent no valid response"
    )
    assert server.asked


@pytest.mark.parametrize(("why", "first", "later"), names.LISTED_CHANGING + names.CHANGING)
async def test_a_name_that_changes_is_looked_up_once_for_each_request(
    asking: Guard, server: NameServer, forbidden: Peer, why: str, first: Script, later: Script
) -> None:
    server.add(NAME, first, later)
    async with listening(says(OK), port=forbidden.port) as allowed:
        assert await asking.fetch(allowed.url(host=NAME)) == b"ok", why
        assert sorted(server.asked) == [(NAME, "A"), (NAME, "AAAA")]
        await assert_not_allowed(asking, allowed.url(host=NAME))
        assert allowed.connections == 1


@pytest.mark.parametrize(("what", "script"), names.PASSES)
async def test_names_with_public_addresses_are_fetched(
    asking: Guard, server: NameServer, forbidden: Peer, what: str, script: Script
) -> None:
    server.add(NAME, script)
    async with listening(says(OK), port=forbidden.port) as allowed:
        assert await asking.fetch(allowed.url(host=NAME)) == b"ok", what


async def test_only_the_name_itself_is_looked_up(asking: Guard, server: NameServer) -> None:
    server.add(NAME, names.PASSES[0][1])
    async with listening(says(OK)) as allowed:
        await asking.fetch(allowed.url(host=f"{NAME.upper()}."))
        with pytest.raises(FetchFailedError):
            await asking.fetch(allowed.url(host="gone.example"))
    assert {name for name, _ in server.asked} == {NAME, "gone.example"}


async def test_a_truncated_response_is_not_repeated_over_tcp(
    asking: Guard, server: NameServer
) -> None:
    """A hostile zone can send 64 kB there, whose parsing would block the event loop."""
    server.add(NAME, records(names.GOOD, flags=dns.flags.TC))
    async with listening(silence, port=server.port) as over_tcp:
        with pytest.raises(FetchFailedError) as caught:
            await asking.fetch(f"http://{NAME}/")
        assert over_tcp.connections == 0
    assert caught.value.reason == "dns"
