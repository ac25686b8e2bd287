"""Parse the host of a URL as a domain name or an IP literal; pure functions."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import idna

from common.outbound.address import Address

MAX_NAME: Final = 253  # RFC 1035, in ASCII form

# Hyphens at the ends are in use below registered names; no top-level domain has them.
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
_LAST_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# A last label that resolvers parse as a number, as in `127.1`, `0x7f.1` and `2130706433`.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_JOINERS: Final = "\u200c\u200d"
_PREFIX: Final = "xn--"


def parse_host(text: str) -> tuple[str, Address | None]:
    """Return the normalized host of a URL, and its IP address if the host is an IP literal.

    Raises:
        ValueError: the host is not valid; the message says why, for the caller that sent it.
    """
    if text.startswith("["):
        return _parse_literal(IPv6Address, text[1:-1], "[2001:db8::1]")
    name = to_ascii_name(text)
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # Parsed from the original text: an address that needs normalization is an evasion attempt.
        return _parse_literal(IPv4Address, text, "192.0.2.1")
    _check_name(name, labels)
    return name, None


def parse_name(text: str) -> str:
    """Return a host name in lower-case ASCII without a trailing dot.

    Raises:
        ValueError: the text is not a host name.
    """
    name = to_ascii_name(text)
    _check_name(name, name.split("."))
    return name


def to_ascii_name(text: str) -> str:
    """Return a host name in lower-case ASCII without a trailing dot, converted as browsers do.

    Source: UTS #46, non-transitional, without the hyphen rules. It maps upper case, compatibility
    characters and other full stops, and allows symbols such as emoji, which IDNA 2008 does not.

    Raises:
        ValueError: the name has characters that no name can have, or is too long.
    """
    if len(text) > MAX_NAME + 1:  # mapping and encoding take time
        raise ValueError(f"the host name is longer than {MAX_NAME} characters")
    if text.isascii():
        return text.lower().removesuffix(".")
    try:
        labels = idna.uts46_remap(text, std3_rules=False).split(".")
        return ".".join(map(_encode_label, labels)).removesuffix(".")
    except ValueError as error:
        raise ValueError("the host name has characters that no name can have") from error


def _check_name(name: str, labels: list[str]) -> None:
    matching = all(map(_LABEL.fullmatch, labels)) and _LAST_LABEL.fullmatch(labels[-1])
    if len(name) > MAX_NAME or not matching:
        raise ValueError("the URL has no valid host name")
    for label in labels:
        if label.startswith(_PREFIX):
            _check_encoded(label)


def _parse_literal(
    kind: type[IPv4Address] | type[IPv6Address], text: str, example: str
) -> tuple[str, Address]:
    try:
        address = kind(text)
    except ValueError as error:
        raise ValueError(f"an IP address must be written like {example}") from error
    return str(address), address


def _encode_label(label: str) -> str:
    if label.isascii():
        return label
    if label.startswith(_PREFIX):
        raise ValueError("an encoded label with a character that is not ASCII")
    _check_decoded(label)
    return _PREFIX + label.encode("punycode").decode("ascii")


def _check_encoded(label: str) -> None:
    """Raise a ValueError unless `label` is the correct encoding (punycode) of a valid label."""
    try:
        decoded = label.removeprefix(_PREFIX).encode("ascii").decode("punycode")
        _check_decoded(decoded)
        valid = not decoded.isascii() and _encode_label(decoded) == label
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("the URL has no valid host name")


def _check_decoded(label: str) -> None:
    """Raise a ValueError unless a mapped label meets the validity criteria of UTS #46."""
    if idna.uts46_remap(label, std3_rules=False) != label:
        raise ValueError("not normalized")
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    for position, character in enumerate(label):
        if character in _JOINERS and not idna.valid_contextj(label, position):
            raise ValueError("a joiner where it joins nothing")
