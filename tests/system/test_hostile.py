"""The real processes among hostile servers: not one byte reaches the forbidden address.

Gateway, worker and dispatcher look names up at a hostile name server. Each order names a hostile
address as picture and as webhook; 127.0.0.1 is open, 127.0.0.2 is the trap.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from types_boto3_s3 import S3Client

from tests.conftest import Servers, fresh_bucket, fresh_database
from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.dns_server import Script as Answer
from tests.hostile.servers.dns_server import records
from tests.hostile.servers.peers import OK, Peer, Script, listening, says, silence
from tests.hostile.servers.trap import trap
from tests.hostile.tables import addresses
from tests.hostile.tables import dns_names as names
from tests.hostile.tables import http_responses as answers
from tests.hostile.tables import redirects as hops
from tests.hostile.tables import tls_handshakes as handshakes
from tests.hostile.tables import url_spellings as spellings
from tests.hostile.tables.tls_handshakes import NAME
from tests.integration.dispatcher.program import environment
from tests.system.surrounded import Outcome, Surrounded, picture, surrounded

REFUSED = "the address is not allowed"
ROUNDS = 10
# Webhooks that ended before their receiver was reached, or before it was judged.
TOO_LATE = {"dns", "timeout"}
UNUSABLE = "could not fetch the image: the host gave no usable answer (tried 1 time)"


@pytest.fixture(scope="module")
async def world(
    servers: Servers,
    template_database: str,
    s3_client: S3Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Surrounded]:
    bucket = await fresh_bucket(servers, s3_client)
    async with fresh_database(servers, template_database) as url:
        stores = environment(url, servers.redis.url(), bucket)
        async with surrounded(stores, tmp_path_factory.mktemp("surrounded")) as world:
            world.names.add(NAME, records(names.GOOD))
            yield world


@pytest.fixture
async def forbidden() -> AsyncIterator[Peer]:
    async with trap() as peer:
        yield peer


def order(url: str) -> dict[str, str]:
    return {"init_image": url, "mask_image": url, "webhook": url}


def named(world: Surrounded, number: int, *scripts: Answer) -> str:
    """Let a name of its own be answered so, in turn."""
    name = f"n{number}.example"
    world.names.add(name, *scripts)
    return name


async def test_refused_at_submit(world: Surrounded) -> None:
    for url, why in addresses.LISTED + spellings.LISTED:
        told = await world.post(**order(url))
        assert told["status"] == "error", why
        # A picture may stand in the body itself, as text of any kind; a webhook may not.
        fields = {"webhook"} if url.startswith("data:") else {"webhook", "init_image", "mask_image"}
        assert fields <= set(told["message"]), why
        assert REFUSED in str(told["message"]["webhook"])


async def test_names_of_the_forbidden_address(world: Surrounded, forbidden: Peer) -> None:
    rows = names.LISTED + names.REFUSED
    async with listening(silence, port=forbidden.port) as allowed:
        hosts = [named(world, number, script) for number, (_, script) in enumerate(rows)]
        ends = await world.outcomes([order(allowed.url(host=host)) for host in hosts])
        assert allowed.connections == 0
    for end, (why, _) in zip(ends, rows, strict=True):
        assert (end.state, end.code) == ("failed", "address_not_allowed"), why
        assert str(end.message).endswith(REFUSED), why
        assert (end.delivery, end.attempts) == ("discarded", ["address_not_allowed"]), why


async def test_names_without_a_proper_answer(world: Surrounded, forbidden: Peer) -> None:
    rows = names.NO_ANSWER
    async with listening(silence, port=forbidden.port) as allowed:
        hosts = [named(world, n, script) for n, (_, script) in enumerate(rows, start=100)]
        ends = await world.outcomes([order(allowed.url(host=host)) for host in hosts])
        assert allowed.connections == 0
    for end, (why, _) in zip(ends, rows, strict=True):
        assert (end.state, end.code) == ("failed", "fetch_failed"), why
        assert str(end.message).endswith(UNUSABLE), why
        assert (end.delivery, end.attempts) == ("exhausted", ["dns", "dns"]), why


async def test_names_that_change(world: Surrounded, forbidden: Peer) -> None:
    """Each order asks three times; only the first answer is good, whoever gets it."""
    rows = names.LISTED_CHANGING + names.CHANGING
    content = await picture("bench.png")
    async with listening(says(content), port=forbidden.port) as allowed:
        hosts = [
            named(world, number, first, later)
            for number, (_, first, later) in enumerate(rows, start=200)
        ]
        ends = await world.outcomes([order(allowed.url(host=host)) for host in hosts])
        assert allowed.connections <= len(rows)
    for end, (why, _, _) in zip(ends, rows, strict=True):
        assert (end.state, end.code) == ("failed", "address_not_allowed"), why
        assert (end.delivery, end.attempts) == ("discarded", ["address_not_allowed"]), why


async def test_redirects(world: Surrounded, forbidden: Peer) -> None:
    world.names.add("inside.example", records("A 127.0.0.2"))
    world.names.add("mixed.example", records("A 127.0.0.1", "A 127.0.0.2"))
    async with AsyncExitStack() as stack:
        peers = []
        for location, _ in hops.REFUSED:
            target = location.replace("{port}", str(forbidden.port))
            answer = b"HTTP/1.1 307 Moved\r\nlocation: %b\r\n\r\n" % target.encode(
                "utf-8", "surrogateescape"
            )
            peers.append(await stack.enter_async_context(listening(says(answer))))
        ends = await world.outcomes([order(peer.url()) for peer in peers])
        silent = [peer for peer in peers if b"POST /" not in peer.received]
    for end, (location, why) in zip(ends, hops.REFUSED, strict=True):
        assert (end.state, end.code) == ("failed", "address_not_allowed"), (location, why)
        assert (end.delivery, end.attempts) == ("exhausted", ["307", "307"]), (location, why)
    assert silent == []


SLOW = [*answers.LISTED_SLOW, *answers.SLOW[::4]]
CUT_OFF: list[tuple[str, Script, str]] = [
    *((what, script, "fetch_failed") for what, script in answers.LISTED_BROKEN),
    *((what, script, "fetch_failed") for what, script in answers.BROKEN[::4]),
    *((what, script, "fetch_failed") for what, script in answers.CRUMBS),
    ("endless body", answers.TOO_MUCH[0][1], "fetch_rejected"),
    ("a bomb", says(answers.LISTED_REJECTED[0][0]), "fetch_rejected"),
]


async def test_cut_off(world: Surrounded) -> None:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(listening(script)) for _, script, _ in CUT_OFF]
        ends = await world.outcomes([order(peer.url()) for peer in peers])
    for end, (what, _, code) in zip(ends, CUT_OFF, strict=True):
        assert (end.state, end.code) == ("failed", code), what


async def test_cut_off_by_the_one_deadline(world: Surrounded) -> None:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(listening(script)) for _, script in SLOW]
        patient = await stack.enter_async_context(listening(says(OK)))
        ends = await world.outcomes(
            [order(peer.url()) | {"webhook": patient.url()} for peer in peers]
        )
    for end, (what, _) in zip(ends, SLOW, strict=True):
        assert (end.state, end.code) == ("failed", "fetch_failed"), what
        assert "timed out" in str(end.message), what
        assert (end.delivery, end.attempts) == ("delivered", ["200"]), what


async def outcomes_of_connections(world: Surrounded, urls: Sequence[str]) -> list[Outcome]:
    """Return what came of a request for each URL, with webhooks that got as far as a connection.

    The deadlines are short here, and on a busy machine a look-up may miss them. Such a webhook
    shows nothing of its receiver: its request is sent again, with less beside it each time.
    """
    ends: dict[str, Outcome] = {}
    for _ in range(ROUNDS):
        left = [url for url in urls if url not in ends or TOO_LATE & set(ends[url].attempts)]
        if not left:
            break
        ends |= dict(zip(left, await world.outcomes([order(url) for url in left]), strict=True))
    return [ends[url] for url in urls]


async def test_servers_that_are_not_trusted(world: Surrounded, tmp_path: Any) -> None:
    stranger = Authority(tmp_path)
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(
                listening(says(OK), tls=context(world.authority, stranger))
            )
            for _, context in handshakes.UNTRUSTED
        ]
        urls = [peer.url(host=NAME, scheme="https") for peer in peers]
        ends = await outcomes_of_connections(world, urls)
        assert [peer.received for peer in peers if peer.received] == []
    for end, (why, _) in zip(ends, handshakes.UNTRUSTED, strict=True):
        assert (end.state, end.code) == ("failed", "fetch_failed"), why
        assert end.delivery == "exhausted", why
        assert set(end.attempts) <= {"tls", "connect"}, why


async def test_after_all_that_an_honest_host_is_served(world: Surrounded, forbidden: Peer) -> None:
    """By name and by https: what stops the others is not that nothing passes."""
    async with (
        listening(says(await picture("bench.png")), tls=world.authority.server(NAME)) as init,
        listening(says(await picture("bench_mask.png"))) as mask,
        listening(says(OK), port=forbidden.port) as receiver,
    ):
        fields = {
            "init_image": init.url("/a.png", host=NAME, scheme="https"),
            "mask_image": mask.url("/b.png"),
            "webhook": receiver.url("/hook", host=NAME),
        }
        (end,) = await world.outcomes([fields])
        assert (end.state, end.message) == ("succeeded", None)
        assert (end.delivery, end.attempts) == ("delivered", ["200"])
        assert init.received.startswith(b"GET /a.png HTTP/1.1\r\n")
        assert receiver.received.startswith(b"POST /hook HTTP/1.1\r\n")
