"""What the host part of a URL names: a domain name or a literal address; pure."""

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import idna

from common.outbound.address import Address

MAX_NAME: Final = 253  # RFC 1035, in ASCII form

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What resolvers read as a number: `127.1`, `0x7f.1` and `2130706433` all end in one.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def parse_host(text: str) -> tuple[str, Address | None]:
    """Give the normal form of a URL's host, and the address when it is a literal one.

    Raises:
        ValueError: says why the text is no host we would look up.
    """
    if text.startswith("["):
        literal = IPv6Address(text[1:-1])
        return str(literal), literal
    name = to_ascii_name(text)
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # Read from the text as given: whatever had to be normalised first is a disguise.
        address = IPv4Address(text)
        return str(address), address
    if len(labels) == 1:
        raise ValueError("a host name has a dot")
    if len(name) > MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a host name")
    for label in labels:
        if label.startswith("xn--"):
            idna.ulabel(label)  # raises where no name reads like this
    return name, None


def to_ascii_name(text: str) -> str:
    """Give a name in lower-case ASCII (IDNA 2008), without the dot that may end it.

    Raises:
        ValueError: the name holds characters that no registered name can have.
    """
    name = text.lower()
    if not name.isascii():
        name = idna.encode(unicodedata.normalize("NFC", name)).decode("ascii")
    return name.removesuffix(".")
