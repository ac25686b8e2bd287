"""Which addresses are public, against a second list written from the registries.

What the registries name one by one, and how IPv6 carries IPv4, is in `test_special.py`.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.outbound.address import Address, AddressRules, Network, is_public

# IANA's special-purpose registries, without the anycast entries, which serve no images.
SPECIAL_IPV4 = [
    IPv4Network(block)
    for block in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    ]
]
SPECIAL_IPV6 = [
    IPv6Network(block)
    for block in [
        "::/3",
        "4000::/2",
        "8000::/1",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    ]
]


def edges(blocks: list[IPv4Network] | list[IPv6Network]) -> list[Address]:
    """The first and last address of each block, and their neighbours outside."""
    numbers = {
        ip_address(number) if block.version == 4 else IPv6Address(number)
        for block in blocks
        for number in (
            int(block[0]) - 1,
            int(block[0]),
            int(block[-1]),
            int(block[-1]) + 1,
        )
        if 0 <= number < 2**block.max_prefixlen
    }
    return sorted(numbers, key=int)


@pytest.mark.parametrize("address", edges(SPECIAL_IPV4) + edges(SPECIAL_IPV6), ids=str)
def test_blocks_end_where_the_registries_say(address: Address) -> None:
    special: list[Network] = [*SPECIAL_IPV4, *SPECIAL_IPV6]
    assert is_public(address) is not any(address in block for block in special)


@given(st.ip_addresses(v=4))
@example(IPv4Address("192.0.0.192"))
@example(IPv4Address("224.0.0.1"))
def test_ipv4_addresses_are_public_unless_registered_as_special(address: IPv4Address) -> None:
    assert is_public(address) is not any(address in block for block in SPECIAL_IPV4)


@given(st.ip_addresses(v=6))
@example(IPv6Address("fec0::1"))
@example(IPv6Address("2606:4700::1"))
@example(IPv6Address("2606:4700::5efe:7f00:1"))
def test_ipv6_addresses_are_public_unless_registered_as_special(address: IPv6Address) -> None:
    special = any(address in block for block in SPECIAL_IPV6)
    isatap = address.exploded[20:29] in {"0000:5efe", "0200:5efe"}
    assert is_public(address) is not (special or isatap)


@given(st.ip_addresses())
def test_a_denied_network_wins_over_an_allowed_one(address: Address) -> None:
    everything = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
    assert not AddressRules(opened=everything, denied=everything).allows(address)


@given(st.ip_addresses(v=4))
def test_an_allowed_network_allows_its_own_addresses_only(address: IPv4Address) -> None:
    rules = AddressRules(opened=(IPv4Network("127.0.0.0/8"),))
    named = address in IPv4Network("127.0.0.0/8")
    assert rules.is_opened(address) is named
    assert rules.allows(address) is (named or is_public(address))


@pytest.mark.parametrize("text", ["::ffff:127.0.0.1", "2606:4700::1%eth0", "fe80::1%1"])
def test_mapped_and_scoped_addresses_are_never_allowed(text: str) -> None:
    everything = AddressRules(opened=(IPv4Network("0.0.0.0/0"), IPv6Network("::/0")))
    assert not everything.allows(ip_address(text))
