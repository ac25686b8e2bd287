"""Where a redirect may point: refused at the hop, told as it is, and what is followed.

`{port}` is the forbidden listener's port; the answer that redirects comes from 127.0.0.1. In the
name service `inside.example` is 127.0.0.2, and `mixed.example` is 127.0.0.1 and 127.0.0.2.
"""

from typing import Final

# "Redirects to any of these": the specification asks for every refused URL once more at the hop.
# `addresses.py` and `url_spellings.py` are run there too, those that can stand in a header.

REFUSED: Final = [
    ("http://127.0.0.2:{port}/", "forbidden"),
    ("//127.0.0.2:{port}/", "forbidden, scheme left out"),
    ("HTTP://127.0.0.2:{port}/", "forbidden, scheme in upper case"),
    ("http://127.0.0.2:{port}", "forbidden, no path"),
    ("http://127.0.0.2:{port}?a", "forbidden, only a query"),
    ("http://127.0.0.2:{port}#a", "forbidden, only a fragment"),
    ("http://127.2:{port}/", "two parts"),
    ("//127.2:{port}/", "two parts, scheme left out"),
    ("http://2130706434:{port}/", "decimal"),
    ("//2130706434:{port}/", "decimal, scheme left out"),
    ("http://0x7f000002:{port}/", "hexadecimal"),
    ("http://0177.0.0.2:{port}/", "octal"),
    ("http://127.0.0.2.:{port}/", "dot after"),
    ("http://[::ffff:127.0.0.2]:{port}/", "mapped"),
    ("http://[::127.0.0.2]:{port}/", "compatible"),
    ("http://[::1]:{port}/", "loopback of the other family"),
    ("http://[64:ff9b::7f00:2]:{port}/", "NAT64"),
    ("http://0.0.0.0:{port}/", "this host"),
    ("http://localhost:{port}/", "no dot"),
    ("http://x.localhost:{port}/", "inside name"),
    ("http://inside.example:{port}/", "a name for the forbidden address"),
    ("//inside.example:{port}/", "a name for the forbidden address, scheme left out"),
    ("http://INSIDE.example.:{port}/", "the same name, dressed up"),
    ("http://mixed.example:{port}/", "a name for both"),
    ("http://user@127.0.0.2:{port}/", "user name"),
    ("http://127.0.0.1@127.0.0.2:{port}/", "address for a user name"),
    ("http://127.0.0.1:{port}@127.0.0.2:{port}/", "address and port for user name and password"),
    ("//127.0.0.1@127.0.0.2:{port}/", "address for a user name, scheme left out"),
    ("http://127.0.0.2:{port}\\@127.0.0.1/", "backslash"),
    ("\\\\127.0.0.2:{port}/", "backslashes for slashes"),
    ("/\\127.0.0.2:{port}/", "slash and backslash"),
    ("\\/127.0.0.2:{port}/", "backslash and slash"),
    ("http:\\\\127.0.0.2:{port}/", "backslashes after the scheme"),
    ("http://127.0.0.1:{port} /", "space"),
    ("http://127.0.0.1\t.example:{port}/", "tab, which joining would drop"),
    ("http://%31%32%37.0.0.2:{port}/", "percent in the host"),
    ("http://①②⑦.⓪.⓪.②:{port}/", "circled digits"),
    ("http://127。0。0。2:{port}/", "ideographic full stops"),
    ("http://\udcff.example/", "a byte that is no text"),
    ("http://127.0.0.2:00{port}/", "leading zeros in the port"),
    ("http://127.0.0.2:/", "empty port"),
    ("http://127.0.0.1:65616/", "80 modulo 65536"),
    ("//[::1/", "bracket left open"),
    ("http://169.254.169.254/latest/meta-data/", "metadata"),
    ("//169.254.169.254/latest/meta-data/", "metadata, scheme left out"),
    ("http://metadata.google.internal/computeMetadata/v1/", "metadata by name"),
    ("https:127.0.0.2", "another scheme without slashes"),
    ("https:/127.0.0.2", "another scheme with one slash"),
    ("https:///127.0.0.2", "another scheme without a host"),
    ("file:///etc/passwd", "scheme"),
    ("FILE:/etc/passwd", "scheme in upper case"),
    ("gopher://127.0.0.2:{port}/_x", "scheme"),
    ("dict://127.0.0.2:{port}/x", "scheme"),
    ("ftp://127.0.0.2/a.png", "scheme"),
    ("data:image/png;base64,AAAA", "scheme"),
    ("javascript:alert(1)", "scheme"),
    ("unix:///run/docker.sock", "scheme"),
    ("/" + "a" * 8192, "too long once joined"),
    ("http://127.0.0.2:{port}/" + "a" * 10_000, "too long"),
    ("?" + "a" * 15_000, "as long as headers may be"),
]

# (an answer of 3xx, why it is no redirect to us): told as its status, nothing is followed.
NO_REDIRECT: Final = [
    ("302 Found\r\n", "no location"),
    ("300 Choices\r\nlocation: http://127.0.0.2:{port}/\r\n", "a choice is the caller's"),
    ("304 Not Modified\r\nlocation: http://127.0.0.2:{port}/\r\n", "nothing was asked to compare"),
    ("305 Use Proxy\r\nlocation: http://127.0.0.2:{port}/\r\n", "asks for a proxy"),
    ("306 Unused\r\nlocation: http://127.0.0.2:{port}/\r\n", "means nothing any more"),
    ("399 Odd\r\nlocation: http://127.0.0.2:{port}/\r\n", "means nothing"),
    ("404 Not Found\r\nlocation: http://127.0.0.2:{port}/\r\n", "not a redirect"),
    ("401 Who\r\nlocation: http://127.0.0.2:{port}/\r\n", "not a redirect"),
    ("407 Proxy\r\nlocation: http://127.0.0.2:{port}/\r\n", "no proxy of ours"),
    ("302 Found\r\nrefresh: 0; url=http://127.0.0.2:{port}/\r\n", "for browsers"),
    ("302 Found\r\ncontent-location: http://127.0.0.2:{port}/\r\n", "names what was sent"),
    ("302 Found\r\nlink: <http://127.0.0.2:{port}/>; rel=canonical\r\n", "a hint"),
]

# (location, path asked for next); all on the host that redirects.
FOLLOWED: Final = [
    ("/next?a=b#c", b"/next?a=b"),
    ("next", b"/next"),
    ("?next", b"/?next"),
    ("", b"/"),
    ("#next", b"/"),
    ("../../next", b"/next"),
    ("/http://127.0.0.2:{port}/", b"/http://127.0.0.2:{port}/"),
    ("///127.0.0.2:{port}/", b"/127.0.0.2:{port}/"),
    ("http:///127.0.0.2:{port}/", b"/127.0.0.2:{port}/"),
    ("http:127.0.0.2:{port}", b"/127.0.0.2:{port}"),
    ("127.0.0.2", b"/127.0.0.2"),
    ("/\u00e4", b"/%C3%A4"),
    ("http://127.0.0.1:00{port}/next", b"/next"),
    (";next", b"/;next"),
]
