"""The real processes among hostile servers: not one byte reaches the forbidden address.

Gateway, worker and dispatcher resolve names at a hostile name server. Each job has a hostile
address as image and as webhook; 127.0.0.1 is allowed, 127.0.0.2 is the trap.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from types_boto3_s3 import S3Client

from tests.conftest import Servers, fresh_bucket, fresh_database
from tests.hostile.servers.certificates import Authority
from tests.hostile.servers.dns_server import Script as DnsScript
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
from tests.system.hostile_stack import HostileStack, Outcome, open_hostile_stack, sample_response

NOT_ALLOWED = "the address is not allowed"
PUBLIC_HOST = "The webhook field must be an http or https URL with a public host: "
ROUNDS = 10
# Webhooks that ended before their receiver was reached, or before it was judged.
TOO_LATE = {"dns", "timeout"}
UNUSABLE = (
    "could not fetch the image: the host could not be reached or sent no valid response "
    "(tried 1 time)"
)


@pytest.fixture(scope="module")
async def stack(
    servers: Servers,
    template_database: str,
    s3_client: S3Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[HostileStack]:
    bucket = await fresh_bucket(servers, s3_client)
    async with fresh_database(servers, template_database) as url:
        stores = environment(url, servers.redis.url(), bucket)
        async with open_hostile_stack(stores, tmp_path_factory.mktemp("hostile")) as stack:
            stack.names.add(NAME, records(names.GOOD))
            yield stack


@pytest.fixture
async def forbidden() -> AsyncIterator[Peer]:
    async with trap() as peer:
        yield peer


def job_fields(url: str) -> dict[str, str]:
    return {"init_image": url, "mask_image": url, "webhook": url}


def add_name(stack: HostileStack, number: int, *scripts: DnsScript) -> str:
    """Add a name with these responses in turn, and return it."""
    name = f"n{number}.example"
    stack.names.add(name, *scripts)
    return name


async def test_hostile_urls_are_rejected_at_submit(stack: HostileStack) -> None:
    for url, why in addresses.LISTED + spellings.LISTED:
        result = await stack.post(**job_fields(url))
        assert result["status"] == "error", why
        # An image may be in the body itself, as a data URL; a webhook may not.
        fields = {"webhook"} if url.startswith("data:") else {"webhook", "init_image", "mask_image"}
        assert fields <= set(result["message"]), why
        assert PUBLIC_HOST in str(result["message"]["webhook"]), why


async def test_names_that_resolve_to_the_forbidden_address_are_not_contacted(
    stack: HostileStack, forbidden: Peer
) -> None:
    rows = names.LISTED + names.REFUSED
    async with listening(silence, port=forbidden.port) as allowed:
        hosts = [add_name(stack, number, script) for number, (_, script) in enumerate(rows)]
        outcomes = await stack.outcomes([job_fields(allowed.url(host=host)) for host in hosts])
        assert allowed.connections == 0
    for outcome, (why, _) in zip(outcomes, rows, strict=True):
        assert (outcome.state, outcome.code) == ("failed", "address_not_allowed"), why
        assert str(outcome.message).endswith(NOT_ALLOWED), why
        assert (outcome.delivery, outcome.attempts) == ("discarded", ["address_not_allowed"]), why


async def test_malformed_dns_responses_fail_the_job_and_its_webhook(
    stack: HostileStack, forbidden: Peer
) -> None:
    rows = names.NO_ANSWER
    async with listening(silence, port=forbidden.port) as allowed:
        hosts = [add_name(stack, n, script) for n, (_, script) in enumerate(rows, start=100)]
        outcomes = await stack.outcomes([job_fields(allowed.url(host=host)) for host in hosts])
        assert allowed.connections == 0
    for outcome, (why, _) in zip(outcomes, rows, strict=True):
        assert (outcome.state, outcome.code) == ("failed", "fetch_failed"), why
        assert str(outcome.message).endswith(UNUSABLE), why
        assert (outcome.delivery, outcome.attempts) == ("exhausted", ["dns", "dns"]), why


async def test_names_that_change_to_the_forbidden_address_are_not_contacted(
    stack: HostileStack, forbidden: Peer
) -> None:
    """Each job looks its name up three times; only the first response has an allowed address."""
    rows = names.LISTED_CHANGING + names.CHANGING
    content = await sample_response("bench.png")
    async with listening(says(content), port=forbidden.port) as allowed:
        hosts = [
            add_name(stack, number, first, later)
            for number, (_, first, later) in enumerate(rows, start=200)
        ]
        outcomes = await stack.outcomes([job_fields(allowed.url(host=host)) for host in hosts])
        assert allowed.connections <= len(rows)
    for outcome, (why, _, _) in zip(outcomes, rows, strict=True):
        assert (outcome.state, outcome.code) == ("failed", "address_not_allowed"), why
        assert (outcome.delivery, outcome.attempts) == ("discarded", ["address_not_allowed"]), why


async def test_redirects_to_the_forbidden_address_are_not_followed(
    stack: HostileStack, forbidden: Peer
) -> None:
    stack.names.add("inside.example", records("A 127.0.0.2"))
    stack.names.add("mixed.example", records("A 127.0.0.1", "A 127.0.0.2"))
    async with AsyncExitStack() as exits:
        peers = []
        for location, _ in hops.REFUSED:
            target = location.replace("{port}", str(forbidden.port))
            response = b"HTTP/1.1 307 Moved\r\nlocation: %b\r\n\r\n" % target.encode(
                "utf-8", "surrogateescape"
            )
            peers.append(await exits.enter_async_context(listening(says(response))))
        outcomes = await stack.outcomes([job_fields(peer.url()) for peer in peers])
        silent = [peer for peer in peers if b"POST /" not in peer.received]
    for outcome, (location, why) in zip(outcomes, hops.REFUSED, strict=True):
        assert (outcome.state, outcome.code) == ("failed", "address_not_allowed"), (location, why)
        assert (outcome.delivery, outcome.attempts) == ("exhausted", ["307", "307"]), (
            location,
            why,
        )
    assert silent == []


SLOW = [*answers.LISTED_SLOW, *answers.SLOW[::4]]
CUT_OFF: list[tuple[str, Script, str]] = [
    *((what, script, "fetch_failed") for what, script in answers.LISTED_BROKEN),
    *((what, script, "fetch_failed") for what, script in answers.BROKEN[::4]),
    *((what, script, "fetch_failed") for what, script in answers.CRUMBS),
    ("endless body", answers.TOO_MUCH[0][1], "fetch_rejected"),
    ("a bomb", says(answers.LISTED_REJECTED[0][0]), "fetch_rejected"),
]


async def test_bad_responses_are_cut_off(stack: HostileStack) -> None:
    async with AsyncExitStack() as exits:
        peers = [await exits.enter_async_context(listening(script)) for _, script, _ in CUT_OFF]
        outcomes = await stack.outcomes([job_fields(peer.url()) for peer in peers])
    for outcome, (what, _, code) in zip(outcomes, CUT_OFF, strict=True):
        assert (outcome.state, outcome.code) == ("failed", code), what


async def test_slow_responses_are_cut_off_by_the_deadline(stack: HostileStack) -> None:
    async with AsyncExitStack() as exits:
        peers = [await exits.enter_async_context(listening(script)) for _, script in SLOW]
        patient = await exits.enter_async_context(listening(says(OK)))
        outcomes = await stack.outcomes(
            [job_fields(peer.url()) | {"webhook": patient.url()} for peer in peers]
        )
    for outcome, (what, _) in zip(outcomes, SLOW, strict=True):
        assert (outcome.state, outcome.code) == ("failed", "fetch_failed"), what
        assert "timed out" in str(outcome.message), what
        assert (outcome.delivery, outcome.attempts) == ("delivered", ["200"]), what


async def outcomes_of_connections(stack: HostileStack, urls: Sequence[str]) -> list[Outcome]:
    """Return the outcome of a job for each URL, with webhooks that got as far as a connection.

    The deadlines are short here, and on a busy machine a look-up may miss them. Such a webhook
    shows nothing of its receiver: its job is sent again, with fewer others each time.
    """
    outcomes: dict[str, Outcome] = {}
    for _ in range(ROUNDS):
        left = [
            url for url in urls if url not in outcomes or TOO_LATE & set(outcomes[url].attempts)
        ]
        if not left:
            break
        outcomes |= dict(
            zip(left, await stack.outcomes([job_fields(url) for url in left]), strict=True)
        )
    return [outcomes[url] for url in urls]


async def test_servers_with_untrusted_certificates_get_no_request(
    stack: HostileStack, tmp_path: Any
) -> None:
    stranger = Authority(tmp_path)
    async with AsyncExitStack() as exits:
        peers = [
            await exits.enter_async_context(
                listening(says(OK), tls=context(stack.authority, stranger))
            )
            for _, context in handshakes.UNTRUSTED
        ]
        urls = [peer.url(host=NAME, scheme="https") for peer in peers]
        outcomes = await outcomes_of_connections(stack, urls)
        assert [peer.received for peer in peers if peer.received] == []
    for outcome, (why, _) in zip(outcomes, handshakes.UNTRUSTED, strict=True):
        assert (outcome.state, outcome.code) == ("failed", "fetch_failed"), why
        assert outcome.delivery == "exhausted", why
        assert set(outcome.attempts) <= {"tls", "connect"}, why


async def test_a_correct_host_is_still_served_afterwards(
    stack: HostileStack, forbidden: Peer
) -> None:
    """The guard rejects hostile hosts, not every host: by name and by https this one is fetched."""
    async with (
        listening(
            says(await sample_response("bench.png")), tls=stack.authority.server(NAME)
        ) as init,
        listening(says(await sample_response("bench_mask.png"))) as mask,
        listening(says(OK), port=forbidden.port) as receiver,
    ):
        fields = {
            "init_image": init.url("/a.png", host=NAME, scheme="https"),
            "mask_image": mask.url("/b.png"),
            "webhook": receiver.url("/hook", host=NAME),
        }
        (outcome,) = await stack.outcomes([fields])
        assert (outcome.state, outcome.message) == ("succeeded", None)
        assert (outcome.delivery, outcome.attempts) == ("delivered", ["200"])
        assert init.received.startswith(b"GET /a.png HTTP/1.1\r\n")
        assert receiver.received.startswith(b"POST /hook HTTP/1.1\r\n")
