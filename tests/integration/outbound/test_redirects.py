"""Redirects of an image: each target is checked like the first address."""

import pytest

from common.domain.errors import AddressNotAllowedError, FetchFailedError, FetchRejectedError
from common.outbound import Guard
from common.settings import OutboundSettings
from tests.hostile.servers.peers import OK, Names, Peer, listening, says, silence
from tests.hostile.tables import redirects as hops
from tests.hostile.tables.url_messages import OPAQUE


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\n\r\n".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(guard: Guard, status: int) -> None:
    hops = [redirect(location, status) for location in ("/2?a=b", "3", "//127.0.0.1:{port}/4")]
    async with listening(silence) as spare:
        pass
    responses = [hop.replace(b"{port}", str(spare.port).encode()) for hop in hops]
    async with listening(says(*responses, OK), port=spare.port) as peer:
        assert await guard.fetch(peer.url("/1")) == b"ok"
        lines = [line for line in peer.received.split(b"\r\n") if line.startswith(b"GET")]
    assert [line.split()[1] for line in lines] == [b"/1", b"/2?a=b", b"/3", b"/4"]
    assert peer.connections == 4


async def test_a_redirect_loop_ends_after_three_redirects(guard: Guard) -> None:
    async with listening(says(redirect("/"))) as peer:
        with pytest.raises(FetchRejectedError, match="more than 3 redirects"):
            await guard.fetch(peer.url())
    assert peer.connections == 4


@pytest.mark.parametrize(("location", "why"), hops.REFUSED)
async def test_redirects_to_forbidden_addresses_are_rejected(
    guard: Guard, names: Names, forbidden: Peer, location: str, why: str
) -> None:
    names.add("inside.example", ["127.0.0.2"])
    names.add("mixed.example", ["127.0.0.1", "127.0.0.2"])
    target = location.replace("{port}", str(forbidden.port)).encode("utf-8", "surrogateescape")
    async with listening(says(b"HTTP/1.1 302 Found\r\nlocation: %b\r\n\r\n" % target)) as peer:
        with pytest.raises(AddressNotAllowedError) as caught:
            await guard.fetch(peer.url())
        message = caught.value.message
        assert message.startswith("after a redirect: ") or message == OPAQUE
        assert peer.connections == 1, why


@pytest.mark.parametrize(("head", "why"), hops.NO_REDIRECT)
async def test_responses_that_are_no_redirect_are_not_followed(
    guard: Guard, forbidden: Peer, head: str, why: str
) -> None:
    response = f"HTTP/1.1 {head}\r\n".replace("{port}", str(forbidden.port)).encode()
    async with listening(says(response)) as peer:
        with pytest.raises(FetchRejectedError, match=f"HTTP {head[:3]}$"):
            await guard.fetch(peer.url())
        assert peer.connections == 1, why


@pytest.mark.parametrize(("location", "path"), hops.FOLLOWED)
async def test_redirects_on_the_same_host_are_followed(
    guard: Guard, forbidden: Peer, location: str, path: bytes
) -> None:
    port = str(forbidden.port)
    response = redirect(location.replace("{port}", port))
    async with listening(says(response, OK), port=forbidden.port) as peer:
        assert await guard.fetch(peer.url()) == b"ok"
        lines = [line for line in peer.received.split(b"\r\n") if line.startswith(b"GET")]
    assert lines[1].split()[1] == path.replace(b"{port}", port.encode())


@pytest.mark.parametrize("host", ["theirs.example", "ours.example"])
async def test_port_and_host_rules_apply_to_redirects(
    settings: OutboundSettings, names: Names, host: str
) -> None:
    names.add(host, ["127.0.0.1"])
    async with listening(silence) as other:
        response = redirect(other.url(host=host))
        async with listening(says(response)) as peer:
            ports = {"theirs.example": {peer.port}, "ours.example": {0}}[host]
            rules = {"allowed_ports": ports, "denied_hosts": {"ours.example"}}
            guard = Guard(settings.model_copy(update=rules), resolver=names)
            with pytest.raises(AddressNotAllowedError):
                await guard.fetch(peer.url())
            assert peer.connections == 1
        assert other.connections == 0
    assert names.asked == []


async def test_two_locations_are_rejected(guard: Guard, forbidden: Peer) -> None:
    response = redirect("/").replace(
        b"\r\n\r\n", b"\r\nlocation: " + forbidden.url().encode() + b"\r\n\r\n"
    )
    async with listening(says(response)) as peer:
        with pytest.raises(AddressNotAllowedError):
            await guard.fetch(peer.url())


async def test_a_name_that_changes_between_redirects_is_rejected(
    guard: Guard, names: Names, forbidden: Peer
) -> None:
    names.add("images.example", ["127.0.0.1"], ["127.0.0.2"])
    async with listening(says(redirect("/next")), port=forbidden.port) as peer:
        with pytest.raises(AddressNotAllowedError):
            await guard.fetch(peer.url(host="images.example"))
        assert peer.connections == 1


async def test_redirects_share_one_deadline(hasty: Guard) -> None:
    async with listening(silence) as slow, listening(says(redirect(slow.url()))) as peer:
        with pytest.raises(FetchFailedError) as caught:
            await hasty.fetch(peer.url())
    assert caught.value.reason == "timeout"
