"""Names of internal hosts that the operator opens for webhooks and images; pure functions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Self

from common.domain.errors import ConfigurationError
from common.outbound.address import Address, Network
from common.outbound.host import parse_host
from common.outbound.url import MAX_PORT, Target

# Networks in which names of internal hosts may have their addresses (RFC 1918, 6598 and 4193).
PRIVATE: Final[tuple[Network, ...]] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
    IPv6Network("fc00::/7"),
)
# Metadata services of clouds with such an address; they hand out the machine's credentials.
METADATA: Final[tuple[Network, ...]] = (
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv6Network("fd00:ec2::/32"),  # Amazon
    IPv6Network("fd20:ce::/32"),  # Google
    IPv6Network("fd00:c1::/32"),  # Oracle
)
# Top-level names that nobody can register.
UNREGISTRABLE: Final = frozenset({"internal", "local", "localdomain", "lan"})

_ENTRY: Final = re.compile(r"(?P<wildcard>\*\.)?(?P<name>[^:*]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class InternalHost:
    """One entry of the setting: a name, or all names below one, at one port or the usual ports."""

    name: str
    is_suffix: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `app`, `app:3000`, `app.example.com` or `*.svc.cluster.local:8080`.

        Raises:
            ValueError: the text is no such entry; the message says why.
        """
        parts = _ENTRY.fullmatch(text)
        if parts is None:
            raise ValueError("must be a name such as app:3000 or *.svc.cluster.local")
        port = None if parts["port"] is None else int(parts["port"])
        if port is not None and not 0 < port <= MAX_PORT:
            raise ValueError(f"the port must be from 1 to {MAX_PORT}")
        name, literal = parse_host(parts["name"])
        if literal is not None:
            raise ValueError("is an address; use INFILL_OUTBOUND_ALLOWED_NETWORKS for addresses")
        if parts["wildcard"] and "." not in name and name not in UNREGISTRABLE:
            raise ValueError("opens a whole top-level domain, in which tenants can have names")
        return cls(name, bool(parts["wildcard"]), port)

    def matches(self, target: Target) -> bool:
        """Return whether this entry opens the host of `target`, at its port if it names one."""
        if target.literal is not None or self.port not in {None, target.port}:
            return False
        if self.is_suffix:
            return target.host.endswith(f".{self.name}")
        return target.host == self.name


def parse_internal_hosts(entries: Iterable[str]) -> tuple[InternalHost, ...]:
    """Parse the setting.

    Raises:
        ConfigurationError: an entry is invalid.
    """
    hosts = []
    for entry in entries:
        try:
            hosts.append(InternalHost.parse(entry))
        except ValueError as error:
            raise ConfigurationError(
                f"INFILL_OUTBOUND_INTERNAL_HOSTS: {entry!r}: {error}"
            ) from error
    return tuple(hosts)


def is_private(address: Address) -> bool:
    """Return whether an internal host may have this address: private, and no metadata service.

    Loopback and link-local addresses are not among them.
    """
    return any(address in network for network in PRIVATE) and not any(
        address in network for network in METADATA
    )
