"""Random responses of hosts and name servers cause only our own errors."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.domain.errors import FetchFailedError, FetchRejectedError
from common.outbound import Guard
from common.outbound.nameservers import NameserverResolver
from common.settings import OutboundSettings
from common.settings.outbound import parse_nameserver
from tests.hostile.servers.dns_server import Question, answering, records
from tests.hostile.servers.peers import listening, says
from tests.hostile.tables import http_responses as answers

GUARD = Guard(
    OutboundSettings.model_validate(
        {
            "allowed_networks": ["127.0.0.1/32"],
            "image_max_bytes": answers.MAX_BYTES,
            "image_timeout_seconds": 5,
        }
    )
)
KNOWN = [response for response, _ in [*answers.TAKEN, *answers.REJECTED] if len(response) < 500]
GOOD = records("CNAME b.example.", "b.example. A 127.0.0.1", "b.example. AAAA ::1")


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[float, int, bytes]]:
    """Generate changes: where, how many bytes to cut out, and what to insert."""
    change = st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=4))
    return draw(st.lists(change, max_size=4))


def changed(data: bytes, how: list[tuple[float, int, bytes]]) -> bytes:
    for where, cut, put in how:
        at = int(where * len(data))
        data = data[:at] + put + data[at + cut :]
    return data


@given(st.sampled_from(KNOWN), changes())
@example(b"", [])
async def test_any_response_of_a_host_is_an_image_or_a_fetch_error(
    response: bytes, how: list[tuple[float, int, bytes]]
) -> None:
    # A redirect would lead out of here.
    mutated = changed(response, how).replace(b"ocation", b"o-cation")
    async with listening(says(mutated)) as peer:
        try:
            image = await GUARD.fetch(peer.url())
        except (FetchFailedError, FetchRejectedError) as error:
            message = error.message
            assert message.startswith("could not fetch the image: ")
        else:
            assert len(image) <= answers.MAX_BYTES


@given(changes())
@example([(0.9, 1, b"\xff\xff")])
@settings(max_examples=15)
async def test_any_response_of_a_name_server_is_an_address_or_a_fetch_error(
    how: list[tuple[float, int, bytes]],
) -> None:
    def script(question: Question) -> list[bytes]:
        return [changed(message, how) for message in GOOD(question)]

    async with answering() as server:
        server.add("images.example", script)
        nameserver = parse_nameserver(f"127.0.0.1:{server.port}")
        resolver = NameserverResolver([nameserver], timeout_seconds=0.03)
        try:
            found = await resolver("images.example", 80)
        except OSError:
            return
        assert {type(address) for address in found} <= {IPv4Address, IPv6Address}
