"""What is refused before any look-up, in one table, and what passes in another."""

import pytest

from common.domain.errors import AddressNotAllowedError
from common.outbound import Guard
from common.outbound.url import Target, follow, parse
from common.settings import OutboundSettings

GUARD = Guard(OutboundSettings())

REFUSED = [
    # numbers that resolvers read as addresses
    ("http://2130706433/", "decimal"),
    ("http://0x7f000001/", "hexadecimal"),
    ("http://017700000001/", "octal"),
    ("http://127.1/", "shortened"),
    ("http://127.0.1/", "shortened"),
    ("http://0/", "shortened zero"),
    ("http://0x7f.0.0.1/", "hexadecimal part"),
    ("http://127.0.0.0x1/", "hexadecimal last part"),
    ("http://127.0.0.0x/", "empty hexadecimal last part"),
    ("http://0177.0.0.1/", "octal part"),
    ("http://127.0.0.01/", "leading zero"),
    ("http://127.0.0.1./", "dot after the last part"),
    ("http://8.8.8.8./", "not canonical although public"),
    ("http://127.0.0.1.1/", "five parts"),
    ("http://256.1.1.1/", "part too large"),
    ("http://a.1/", "numeric last label"),
    ("http://1.2.3.4.0x7f/", "hexadecimal last label"),
    # addresses that are not public
    ("http://0.0.0.0/", "this host"),
    ("http://10.0.0.1/", "private"),
    ("http://172.16.0.1/", "private"),
    ("http://192.168.1.1/", "private"),
    ("http://127.0.0.1/", "loopback"),
    ("http://127.255.255.254/", "loopback"),
    ("http://169.254.169.254/latest/meta-data/", "link local: metadata"),
    ("http://100.64.0.1/", "carrier-grade NAT"),
    ("http://100.100.100.200/", "carrier-grade NAT: metadata"),
    ("http://168.63.129.16/", "host agent, globally routable"),
    ("http://192.0.0.192/", "protocol assignments: metadata"),
    ("http://192.0.2.1/", "documentation"),
    ("http://198.18.0.1/", "benchmarking"),
    ("http://224.0.0.1/", "multicast"),
    ("http://240.0.0.1/", "reserved"),
    ("http://255.255.255.255/", "broadcast"),
    ("http://[::]/", "unspecified"),
    ("http://[::1]/", "loopback"),
    ("http://[0:0:0:0:0:0:0:1]/", "loopback in full"),
    ("http://[::ffff:127.0.0.1]/", "mapped"),
    ("http://[::ffff:8.8.8.8]/", "mapped although public"),
    ("http://[::127.0.0.1]/", "compatible"),
    ("http://[64:ff9b::a9fe:a9fe]/", "NAT64"),
    ("http://[64:ff9b:1::1]/", "local NAT64"),
    ("http://[2002:7f00:1::]/", "6to4"),
    ("http://[2001:0:7f00:1::]/", "Teredo"),
    ("http://[fd00:ec2::254]/", "unique local: metadata"),
    ("http://[fe80::1]/", "link local"),
    ("http://[fe80::1%25eth0]/", "zone"),
    ("http://[fe80::1%eth0]/", "zone, unescaped"),
    ("http://[2606:4700::1%25eth0]/", "zone on a public address"),
    ("http://[fec0::1]/", "site local"),
    ("http://[ff02::1]/", "multicast"),
    ("http://[v1.fe80]/", "future address form"),
    ("http://[::1/", "bracket left open"),
    ("http://[]/", "empty brackets"),
    ("http://[1.2.3.4]/", "IPv4 in brackets"),
    ("http://[2606:4700::1]x/", "text after the bracket"),
    ("http://x[2606:4700::1]/", "text before the bracket"),
    # names of the inside
    ("http://localhost:80/", "no dot"),
    ("http://LOCALHOST./", "no dot, upper case"),
    ("http://x.localhost/", "inside name"),
    ("http://metadata.google.internal/", "inside name"),
    ("http://METADATA.google.Internal./", "inside name, dressed up"),
    ("http://printer.local/", "inside name"),
    ("http://nas.home.arpa/", "inside name"),
    ("http://redis/", "no dot"),
    ("http://postgres./", "no dot but the last"),
    # text that becomes something else once normalised
    ("http://127。0。0。1/", "ideographic full stops"),
    ("http://8。8。8。8/", "the same, public"),
    ("http://①②⑦.⓪.⓪.①/", "circled digits"),
    ("http://\uff11\uff12\uff17.0.0.1/", "full-width digits"),
    ("http://\uff4cocalhost/", "full-width letter"),
    ("http://ex\u00adample.com/", "soft hyphen"),
    ("http://exam\u200bple.com/", "zero-width space"),
    ("http://exam\u202eple.com/", "right-to-left override"),
    ("http://example\uff0fcom/", "full-width slash"),
    ("http://example.com\uff03.evil.com/", "full-width hash"),
    ("http://a\ud800.com/", "lone surrogate in the host"),
    ("http://example.com/\ud800", "lone surrogate in the path"),
    ("http://%31%32%37.0.0.1/", "percent in the host"),
    ("http://example%2ecom/", "percent in the host"),
    ("http://example.com%00.evil.com/", "percent in the host"),
    # text two parsers read differently
    ("http://a.com@127.0.0.1/", "user name"),
    ("http://user:password@example.com/", "user name"),
    ("http://@example.com/", "empty user name"),
    ("http://a.com\\@127.0.0.1/", "backslash"),
    ("http:\\\\example.com/", "backslashes"),
    ("http://example.com/a\\b", "backslash in the path"),
    ("http:///127.0.0.1", "no host"),
    ("http://", "no host"),
    ("http:example.com", "no slashes"),
    ("http:/example.com", "one slash"),
    ("//example.com/", "no scheme"),
    ("example.com/", "no scheme"),
    ("", "nothing"),
    ("http://:80/", "no host"),
    ("http://./", "only a dot"),
    ("http://../", "only dots"),
    ("http://example..com/", "empty label"),
    ("http://example.com../", "empty last label"),
    ("http://.example.com/", "empty first label"),
    ("http://-a.com/", "hyphen first"),
    ("http://a-.com/", "hyphen last"),
    ("http://exa*mple.com/", "not a letter"),
    ("http://example.com,evil.com/", "comma"),
    ("http://example.com;evil.com/", "semicolon"),
    ("http://" + "a" * 64 + ".com/", "label too long"),
    ("http://" + "a." * 130 + "com/", "name too long"),
    ("http://example.com/" + "a" * 2048, "URL too long"),
    (" http://example.com/", "space before"),
    ("http://example.com/ ", "space after"),
    ("http://exam ple.com/", "space in the host"),
    ("http://example.com/a\r\nHost: evil", "line end"),
    ("http://example.com/a\nb", "line feed"),
    ("http://exam\tple.com/", "tab in the host"),
    ("http://example.com/\tb", "tab in the path"),
    ("http://example.com/\x00", "control character"),
    ("http://example.com/\x7f", "control character"),
    ("ht\ntp://example.com/", "line feed in the scheme"),
    # ports
    ("http://example.com:22/", "port"),
    ("http://example.com:6379/", "port"),
    ("http://host:22/", "port and no dot"),
    ("http://host:6379/", "port and no dot"),
    ("http://example.com:٨٠/", "digits that are not ASCII"),
    ("http://host:٨٠/", "digits that are not ASCII"),
    ("http://example.com:/", "empty port"),
    ("http://example.com:0/", "port 0"),
    ("http://example.com:080/", "leading zero"),
    ("http://example.com:+80/", "sign"),
    ("http://example.com:-80/", "sign"),
    ("http://example.com:8_0/", "underscore"),
    ("http://example.com:65616/", "80 modulo 65536"),
    ("http://example.com:80:80/", "two ports"),
    ("http://[2606:4700::1]:22/", "port after a bracket"),
    # schemes
    ("file:///etc/passwd", "scheme"),
    ("gopher://example.com/_x", "scheme"),
    ("ftp://example.com/a.png", "scheme"),
    ("data:image/png;base64,AAAA", "scheme"),
    ("javascript:alert(1)", "scheme"),
    ("unix:///run/docker.sock", "scheme"),
    ("ws://example.com/", "scheme"),
    ("http\u017f://example.com/", "scheme with a long s"),
    ("https+unix://example.com/", "scheme"),
]


@pytest.mark.parametrize("webhook", [False, True], ids=["image", "webhook"])
@pytest.mark.parametrize(("url", "why"), REFUSED)
def test_refused_without_dns(url: str, why: str, *, webhook: bool) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        GUARD.check(url, webhook=webhook)
    assert caught.value.message == "the address is not allowed", why
    assert caught.value.detail


PASSES = [
    ("http://example.com", "http", "example.com", 80, b"/"),
    ("HTTPS://Example.COM/", "https", "example.com", 443, b"/"),
    ("https://example.com:80/", "https", "example.com", 80, b"/"),
    ("http://example.com./a", "http", "example.com", 80, b"/a"),
    ("http://example.com?q=1", "http", "example.com", 80, b"/?q=1"),
    ("http://example.com#top", "http", "example.com", 80, b"/"),
    ("http://example.com/a/../b?c=d/@:%20#e?f", "http", "example.com", 80, b"/a/../b?c=d/@:%20"),
    ("http://example.com/ä?ö", "http", "example.com", 80, b"/%C3%A4?%C3%B6"),
    ('http://example.com/"<>^`{|}', "http", "example.com", 80, b'/"<>^`{|}'),
    ("http://bücher.example.com/", "http", "xn--bcher-kva.example.com", 80, b"/"),
    ("http://BU\u0308CHER.example.com/", "http", "xn--bcher-kva.example.com", 80, b"/"),
    ("http://例え。jp/", "http", "xn--r8jz45g.jp", 80, b"/"),
    ("http://my_bucket.example.com/", "http", "my_bucket.example.com", 80, b"/"),
    ("http://7.example.com/", "http", "7.example.com", 80, b"/"),
    ("http://8.8.8.8/", "http", "8.8.8.8", 80, b"/"),
    ("http://[2606:4700:0::1111]:443/", "http", "2606:4700::1111", 443, b"/"),
    ("http://notlocalhost.com/", "http", "notlocalhost.com", 80, b"/"),
    ("http://localhost.example.com/", "http", "localhost.example.com", 80, b"/"),
]


@pytest.mark.parametrize(("url", "scheme", "host", "port", "path"), PASSES)
def test_passes(url: str, scheme: str, host: str, port: int, path: bytes) -> None:
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
def test_authority_and_origin(url: str, authority: str, origin: str) -> None:
    target = parse(url)
    assert (target.authority, target.origin) == (authority, origin)


HERE = Target("https", "example.com", 443, b"/a/b?c")


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
    following = follow(HERE, location)
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
def test_redirect_is_refused(location: str, why: str) -> None:
    with pytest.raises(AddressNotAllowedError) as caught:
        follow(HERE, location)
    assert caught.value.message == "the address is not allowed", why
