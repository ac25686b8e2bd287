"""No special address is public: whatever the registries name, and every IPv4 inside IPv6.

IANA's special-purpose registries for IPv4 and IPv6, the multicast blocks, and where clouds keep
their metadata.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.outbound.address import NAT64, Address, AddressRules, Network, is_public

REGISTERED = {
    "0.0.0.0/8": "this network",
    "0.0.0.0/32": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared address space",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.0.0/29": "service continuity",
    "192.0.0.8/32": "dummy address",
    "192.0.0.9/32": "port control anycast",
    "192.0.0.10/32": "TURN anycast",
    "192.0.0.170/31": "NAT64 and DNS64 discovery",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "automatic multicast tunnelling",
    "192.88.99.0/24": "6to4 relay anycast",
    "192.88.99.2/32": "6a44 relay anycast",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "233.252.0.0/24": "documentation of multicast",
    "240.0.0.0/4": "reserved",
    "255.255.255.255/32": "broadcast",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "compatible",
    "::ffff:0:0/96": "mapped",
    "::ffff:0:0:0/96": "translated",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "local NAT64",
    "100::/64": "discard only",
    "100:0:0:1::/64": "dummy prefix",
    "2001::/23": "protocol assignments",
    "2001::/32": "Teredo",
    "2001:1::1/128": "port control anycast",
    "2001:1::2/128": "TURN anycast",
    "2001:1::3/128": "service registration anycast",
    "2001:2::/48": "benchmarking",
    "2001:3::/32": "automatic multicast tunnelling",
    "2001:4:112::/48": "AS112",
    "2001:10::/28": "ORCHID",
    "2001:20::/28": "ORCHID, second version",
    "2001:30::/28": "remote identification of drones",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "unique local",
    "fe80::/10": "link local",
    "fec0::/10": "site local",
    "ff00::/8": "multicast",
}
METADATA = {
    "169.254.169.254": "Amazon, Google, Azure, Oracle, DigitalOcean and most others",
    "169.254.170.2": "Amazon's containers",
    "169.254.170.23": "Amazon's pods",
    "169.254.169.123": "Amazon's clock",
    "169.254.42.42": "Scaleway",
    "169.254.0.23": "Tencent",
    "168.63.129.16": "Azure's host agent",
    "100.100.100.200": "Alibaba",
    "192.0.0.192": "Oracle, formerly",
    "fd00:ec2::254": "Amazon",
    "fd00:ec2::23": "Amazon's pods",
    "fd20:ce::254": "Google",
    "fd00:c1::a9fe:a9fe": "Oracle",
    "fd00:42::42": "Scaleway",
    "fe80::a9fe:a9fe": "OpenStack",
}

blocks = st.sampled_from([ip_network(block) for block in REGISTERED])
numbers_of_four = st.ip_addresses(v=4).map(int)
prefixes = st.integers(0, 2**64 - 1)


@given(blocks.flatmap(lambda block: st.ip_addresses(network=block)))
def test_no_address_of_a_registered_block_is_public(address: Address) -> None:
    assert not is_public(address)
    assert not AddressRules().allows(address)


@pytest.mark.parametrize("block", [ip_network(block) for block in REGISTERED], ids=str)
def test_neither_end_of_a_registered_block_is_public(block: Network) -> None:
    assert not is_public(block[0])
    assert not is_public(block[-1])


@pytest.mark.parametrize("address", METADATA)
def test_no_metadata_address_is_public(address: str) -> None:
    assert not AddressRules().allows(ip_address(address))


@given(numbers_of_four)
@example(int(IPv4Address("127.0.0.1")))
@example(int(IPv4Address("8.8.8.8")))
def test_no_ipv4_address_with_a_prefix_is_public(number: int) -> None:
    spellings = [
        IPv6Address(number),  # compatible
        IPv6Address(0xFFFF << 32 | number),  # mapped
        IPv6Address(0xFFFF << 48 | number),  # translated (SIIT)
        IPv6Address(0x64FF9B << 96 | number),  # NAT64
    ]
    assert [spelling for spelling in spellings if is_public(spelling)] == []


@given(numbers_of_four, st.integers(0, 2**80 - 1))
def test_no_6to4_address_is_public(number: int, rest: int) -> None:
    assert not is_public(IPv6Address(0x2002 << 112 | number << 80 | rest))


@given(numbers_of_four, st.integers(0, 2**32 - 1), numbers_of_four)
def test_no_teredo_address_is_public(server: int, flags_and_port: int, client: int) -> None:
    address = 0x20010000 << 96 | server << 64 | flags_and_port << 32 | (client ^ 0xFFFFFFFF)
    assert not is_public(IPv6Address(address))


@given(prefixes, numbers_of_four, st.sampled_from([0x00005EFE, 0x02005EFE]))
@example(0x2606_4700 << 32, int(IPv4Address("127.0.0.1")), 0x00005EFE)
@example(0x2606_4700 << 32, int(IPv4Address("10.0.0.1")), 0x02005EFE)
def test_no_isatap_address_is_public(prefix: int, number: int, mark: int) -> None:
    assert not is_public(IPv6Address(prefix << 64 | mark << 32 | number))


@given(numbers_of_four, st.integers(0, 2**16 - 1))
def test_no_local_nat64_address_is_public(number: int, subnet: int) -> None:
    """RFC 6052: the address follows the prefix, around eight bits (64 to 71) that stay zero."""
    local = 0x64FF9B0001 << 80
    high, low = divmod(number, 2**16)
    top, rest = divmod(number, 2**24)
    spellings = [
        local | high << 64 | low << 40,  # a prefix of 48 bits
        local | subnet >> 8 << 72 | top << 64 | rest << 32,  # of 56
        local | subnet << 64 | number << 24,  # of 64
        local | number,  # of 96
    ]
    assert [spelling for spelling in map(IPv6Address, spellings) if is_public(spelling)] == []


@given(numbers_of_four)
@example(int(IPv4Address("10.0.0.1")))
@example(int(IPv4Address("8.8.8.8")))
@example(int(IPv4Address("8.8.4.4")))
def test_an_allowed_nat64_prefix_allows_no_address_behind_it(number: int) -> None:
    rules = AddressRules(opened=(NAT64,), denied=(IPv4Network("8.8.4.0/24"),))
    behind = IPv4Address(number)
    through = IPv6Address(int(NAT64[0]) | number)
    assert rules.allows(through) is rules.allows(behind)
    assert not AddressRules(opened=(IPv6Network("::/0"),), denied=(NAT64,)).allows(through)
