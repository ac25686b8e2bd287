"""URLs rejected without DNS, and URLs accepted, from the tables in `tests.hostile`."""

import pytest

from common.domain.errors import AddressNotAllowedError
from common.outbound import Guard
from common.outbound.rules import Rules
from common.outbound.url import Target, parse_url, resolve_redirect
from common.settings import OutboundSettings
from tests.hostile.tables import addresses
from tests.hostile.tables import url_spellings as spellings
from tests.hostile.tables.accepted_urls import PASSES
from tests.hostile.tables.url_messages import NAMED, OPAQUE

GUARD = Guard(OutboundSettings())
RULES = Rules.from_settings(OutboundSettings())
REFUSED = addresses.LISTED + addresses.OURS + spellings.LISTED + spellings.OURS


def shortened(value: object) -> str:
    """Keep the megabyte out of the test's name."""
    return repr(value)[:80]


@pytest.mark.parametrize("webhook", [False, True], ids=["image", "webhook"])
@pytest.mark.parametrize(("url", "why"), REFUSED, ids=shortened)
def test_urls_are_rejected_without_dns(url: str, why: str, *, webhook: bool) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        GUARD.check(url, webhook=webhook)
    assert caught.value.message, why
    assert caught.value.detail


@pytest.mark.parametrize(("url", "why"), addresses.LISTED + addresses.OURS, ids=shortened)
def test_a_message_about_an_address_depends_on_its_text_alone(url: str, why: str) -> None:
    """A message other than the opaque one is about notation, the same for public addresses."""
    with pytest.raises(AddressNotAllowedError) as caught:
        GUARD.check(url)
    if caught.value.message != OPAQUE:
        opened = OutboundSettings(allowed_networks=("0.0.0.0/0", "::/0"), allowed_ports={0})
        with pytest.raises(AddressNotAllowedError) as again:
            Guard(opened).check(url)
        assert again.value.message == caught.value.message, why


@pytest.mark.parametrize(("url", "message"), NAMED, ids=shortened)
def test_the_message_names_what_is_wrong_with_the_text(url: str, message: str) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        GUARD.check(url)
    assert caught.value.message == message


@pytest.mark.parametrize(("url", "scheme", "host", "port", "path"), PASSES, ids=shortened)
def test_public_urls_are_accepted(url: str, scheme: str, host: str, port: int, path: bytes) -> None:
    target = GUARD.check(url, webhook=True)
    assert (target.scheme, target.host, target.port, target.path) == (scheme, host, port, path)


@pytest.mark.parametrize(
    ("url", "authority", "origin"),
    [
        ("http://example.com/a", "example.com", "http://example.com"),
        ("https://example.com:443/", "example.com", "https://example.com"),
        ("https://example.com:80/", "example.com:80", "https://example.com:80"),
        ("http://[2606:4700::1]/", "[2606:4700::1]", "http://[2606:4700::1]"),
        ("http://[2606:4700::1]:443/", "[2606:4700::1]:443", "http://[2606:4700::1]:443"),
    ],
)
def test_authority_and_origin_are_parsed(url: str, authority: str, origin: str) -> None:
    target = parse_url(url)
    assert (target.authority, target.origin) == (authority, origin)


HERE = Target("https", "example.com", 443, b"/a/b?c")
PLAIN = Target("http", "example.com", 80, b"/")


@pytest.mark.parametrize(
    ("location", "origin", "path"),
    [
        ("d", "https://example.com", b"/a/d"),
        ("/d?e#f", "https://example.com", b"/d?e"),
        ("?d", "https://example.com", b"/a/b?d"),
        ("../d", "https://example.com", b"/d"),
        ("//other.example/d", "https://other.example", b"/d"),
        ("https://other.example:8443/d", "https://other.example:8443", b"/d"),
        ("", "https://example.com", b"/a/b?c"),
    ],
)
def test_redirect_is_followed_to(location: str, origin: str, path: bytes) -> None:
    following = resolve_redirect(HERE, location)
    assert (following.origin, following.path) == (origin, path)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://example.com/", "from https to http"),
        ("https://localhost/", "no dot"),
        ("file:///etc/passwd", "scheme"),
        ("/a\tb", "tab, which joining would drop"),
        ("ht\ntp://127.0.0.1/", "line feed, which joining would drop"),
        ("https://[::1", "bracket left open"),
        ("https://user@example.com/", "user name"),
        ("//127.1/", "shortened address"),
    ],
)
def test_redirect_is_rejected(location: str, why: str) -> None:
    try:
        following = resolve_redirect(HERE, location)
        RULES.check(following, webhook=False)
    except AddressNotAllowedError:
        return
    pytest.fail(f"accepted: {why}")


@pytest.mark.parametrize(("url", "why"), REFUSED, ids=shortened)
def test_redirects_to_rejected_urls_are_rejected(url: str, why: str) -> None:
    """Read as a location, some of them are paths; those stay on the host that redirects."""
    try:
        following = resolve_redirect(PLAIN, url)
        RULES.check(following, webhook=False)
    except AddressNotAllowedError:
        return
    assert (following.scheme, following.host, following.port) == ("http", "example.com", 80), why
