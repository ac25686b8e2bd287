"""Rules for the IP addresses to which connections are allowed; pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# The only IPv6 block assigned for global unicast (RFC 4291). Everything outside it is denied:
# mapped and compatible IPv4, NAT64, unique local, link local, site local, multicast.
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

# Networks that are not public although is_global of the standard library says so, in some or all
# Python versions.
NOT_PUBLIC: Final[tuple[Network, ...]] = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    IPv4Network("192.31.196.0/24"),  # AS112 sink (RFC 7535)
    IPv4Network("192.52.193.0/24"),  # automatic multicast tunnelling (RFC 7450)
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, withdrawn (RFC 7526)
    IPv4Network("192.175.48.0/24"),  # AS112 sink (RFC 7534)
    IPv4Network("168.63.129.16/32"),  # Azure's host agent, inside every machine there
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them: embeds IPv4
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4: embeds IPv4
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    IPv6Network("2620:4f:8000::/48"),  # AS112 sink (RFC 7534)
)

# Translates to the IPv4 address in its last 32 bits (RFC 6052); machines without IPv4 need it.
NAT64: Final = IPv6Network("64:ff9b::/96")

# Interface identifiers of ISATAP embed an IPv4 address under any prefix, even a public one
# (RFC 5214); `0200` is the same with the "globally unique" bit set.
ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Rules that allow public addresses and the `opened` networks, except the `denied` networks."""

    opened: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    def allows(self, address: Address) -> bool:
        """Return whether a connection to `address` is allowed; denied networks take precedence."""
        if self.is_denied(address):
            return False
        if isinstance(address, IPv6Address) and address in NAT64:
            # Opening the translator does not open the IPv4 addresses behind it.
            return self.is_opened(address) and self.allows(IPv4Address(int(address) & 0xFFFF_FFFF))
        return self.is_opened(address) or is_public(address)

    def is_denied(self, address: Address) -> bool:
        """Return whether `address` is denied, or in a form that could hide a denied one."""
        return _is_alternative_notation(address) or _in_any(address, self.denied)

    def is_opened(self, address: Address) -> bool:
        """Return whether `address` is in a network that the operator explicitly allowed."""
        return _in_any(address, self.opened)


def is_public(address: Address) -> bool:
    """Return whether `address` belongs to the public Internet."""
    if _in_any(address, NOT_PUBLIC):
        return False
    if isinstance(address, IPv6Address):
        return address in GLOBAL_UNICAST and int(address) >> 32 & 0xFFFF_FFFF not in ISATAP
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_alternative_notation(address: Address) -> bool:
    """Return whether `address` is in a form that would bypass the comparison with networks.

    These forms are IPv4-mapped IPv6 addresses and IPv6 addresses with a scope id.
    """
    if isinstance(address, IPv4Address):
        return False
    return address.ipv4_mapped is not None or address.scope_id is not None


def _in_any(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
