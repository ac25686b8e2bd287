"""Random URLs are rejected or plain, without other errors and without much memory."""

import re
import tracemalloc
from urllib.parse import urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from common.domain.errors import AddressNotAllowedError
from common.outbound import Guard, Target
from common.outbound.address import is_public
from common.outbound.host import to_ascii_name
from common.outbound.rules import INTERNAL_NAMES
from common.outbound.url import resolve_redirect
from common.settings import OutboundSettings
from tests.hostile.tables import addresses
from tests.hostile.tables import redirects as hops
from tests.hostile.tables import url_spellings as spellings
from tests.hostile.tables.accepted_urls import PASSES

GUARD = Guard(OutboundSettings())
HERE = Target("https", "example.com", 443, b"/a/b?c")
MAX_MEMORY = 1_000_000  # bytes, for any URL

TABLES = (addresses.LISTED, addresses.OURS, spellings.LISTED, spellings.OURS)
KNOWN = [
    *(url for url, *_ in PASSES),
    *(url for table in TABLES for url, _ in table if len(url) < 200),
]

# What parsers trip over, in any order.
pieces = st.sampled_from(
    (
        *("http", "https", "HTTP", "file", ":", "//", "/", "\\", "@", "#", "?", "%", "%2e", "%00"),
        *(".", "。", "\uff0e", "[", "]", "::", "::1", "::ffff:", "127", "0x7f", "0177", "1", "80"),
        *("443", "22", "\u0661", "①", "localhost", "example", "com", "xn--", "xn--bcher-kva"),
        *("internal", "ä", "\u0130", "\u017f", "\u200d", "\u00ad", "\u202e", "\ud800", "\ufeff"),
        *("-", "_", " ", "\t", "\r\n", "\0", "\x7f", "user", ":pass@", "a" * 63, "a" * 64, "ß"),
        "\u0301",
    )
)
assembled = st.lists(pieces, max_size=14).map("".join)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Generate a URL of the tables with a part replaced."""
    url = draw(st.sampled_from(KNOWN))
    begin = draw(st.integers(0, len(url)))
    end = draw(st.integers(begin, min(len(url), begin + 3)))
    return url[:begin] + draw(st.text(max_size=3) | pieces) + url[end:]


urls = (
    st.text(max_size=80)
    | assembled
    | assembled.map("http://".__add__)
    | mutated()
    | st.text(max_size=40).map(lambda host: f"https://{host}/")
)


def assert_plain(target: Target) -> None:
    """Assert that an accepted URL is unambiguous and not internal."""
    assert target.scheme in {"http", "https"}
    assert target.port in {80, 443}
    assert re.fullmatch(rb"/[\x21-\x7e]*", target.path)
    if target.literal is not None:
        assert target.host == str(target.literal)
        assert is_public(target.literal)
        return
    assert re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", target.host)
    assert len(target.host) <= 253
    assert not target.host.endswith(tuple(f".{name}" for name in INTERNAL_NAMES))
    assert not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", target.host.rpartition(".")[2])


@given(urls)
@example("http://example.com:80/")
@example("http://example.com/\x80" + "a" * 8172)  # longer once encoded
def test_a_url_is_rejected_or_plain(url: str) -> None:
    try:
        target = GUARD.check(url)
    except AddressNotAllowedError as error:
        assert error.message  # noqa: PT017 some pass
        return
    assert_plain(target)
    again = GUARD.check(target.origin + target.path.decode())
    assert again == target


@given(urls)
@example("http://BU\u0308CHER.example.com./")
@example("http://[2606:4700:0::1]:80?@a")
def test_another_parser_reads_the_same_host(url: str) -> None:
    try:
        target = GUARD.check(url)
    except AddressNotAllowedError:
        return
    parts = urlsplit(url)
    assert parts.username is None
    assert parts.scheme == target.scheme
    assert parts.port in {None, target.port}
    assert parts.hostname is not None
    if target.literal is None:
        assert to_ascii_name(parts.hostname) == target.host


@given(urls | st.sampled_from([location for location, _ in hops.REFUSED]))
@example("//127.0.0.1/")
def test_a_redirect_is_rejected_or_plain(location: str) -> None:
    try:
        following = resolve_redirect(HERE, location)
        following = GUARD.check(following.origin + following.path.decode())
    except AddressNotAllowedError:
        return
    assert_plain(following)
    assert following.scheme == "https"


@given(st.text(min_size=1, max_size=20), st.integers(0, 200_000), st.sampled_from(["", "http://"]))
@example("a", 10_000_000, "http://")
@example("a.", 1020, "http://")
@example("\U0010ffff", 8000, "http://a.example/")
@example("\u00e4", 8185, "http://")
@example("[", 10_000_000, "http://")
def test_checking_a_url_takes_little_memory(unit: str, times: int, begin: str) -> None:
    url = begin + unit * times
    tracemalloc.start()
    try:
        GUARD.check(url)
    except AddressNotAllowedError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MAX_MEMORY
