"""The address of a client: of its connection, or as a trusted proxy forwarded it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# One customer of a provider usually has a /64 network, so all of its addresses are one client.
IPV6_CLIENT_PREFIX: Final = 64
# Parsing an address takes a quarter of the time of accepting a connection.
CACHED_ADDRESSES: Final = 4096


class TrustedProxies:
    """The networks of proxies whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def __contains__(self, address: Address) -> bool:
        """Return whether `address` is a trusted proxy's."""
        return any(address in network for network in self._networks)

    def find_client(self, peer: Address, forwarded_for: Iterable[bytes]) -> Address:
        """Return the rightmost address in the chain of proxies that is not trusted.

        `forwarded_for` are the values of all `X-Forwarded-For` headers, in order. Each proxy
        appends the address of its own client, so only what trusted proxies appended is believed.
        """
        client = peer
        for text in reversed(b",".join(forwarded_for).split(b",")):
            forwarded = _parse_forwarded(text.decode("latin-1").strip())
            if client not in self or forwarded is None:
                break
            client = forwarded
        return client


@lru_cache(CACHED_ADDRESSES)
def parse_address(text: str) -> Address | None:
    """Return an IP address, without a zone, IPv4 in IPv6 as IPv4; None if it is not an address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(CACHED_ADDRESSES)
def client_key(address: Address) -> str:
    """Return the text under which connections of one client are counted."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_CLIENT_PREFIX), strict=False))
    return str(address)


def _parse_forwarded(text: str) -> Address | None:
    """Parse an address that may have a port: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    if text.startswith("["):
        return parse_address(text[1:].partition("]")[0])
    if text.count(":") == 1:
        text = text.partition(":")[0]
    return parse_address(text)
