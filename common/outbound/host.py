"""Parse the host of a URL as a domain name or an IP literal; pure functions."""

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import idna

from common.outbound.address import Address

MAX_NAME: Final = 253  # RFC 1035, in ASCII form

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# A last label that resolvers parse as a number, as in `127.1`, `0x7f.1` and `2130706433`.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def parse_host(text: str) -> tuple[str, Address | None]:
    """Return the normalized host of a URL, and its IP address if the host is an IP literal.

    Raises:
        ValueError: the host is not valid; the message says why.
    """
    if text.startswith("["):
        literal = IPv6Address(text[1:-1])
        return str(literal), literal
    name = to_ascii_name(text)
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # Parsed from the original text: an address that needs normalization is an evasion attempt.
        address = IPv4Address(text)
        return str(address), address
    if len(labels) == 1:
        raise ValueError("a host name must have a dot")
    if len(name) > MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("not a host name")
    for label in labels:
        if label.startswith("xn--"):
            idna.ulabel(label)  # raises if no name is encoded like this
    return name, None


def to_ascii_name(text: str) -> str:
    """Return a host name in lower-case ASCII (IDNA 2008), without a trailing dot.

    Raises:
        ValueError: the name has characters that no registered name can have.
    """
    name = text.lower()
    if not name.isascii():
        name = idna.encode(unicodedata.normalize("NFC", name)).decode("ascii")
    return name.removesuffix(".")
