"""Settings of the outbound guard, which controls requests to tenant-supplied addresses."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Final, NamedTuple

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from common.settings.section import Section, section_config

DNS_PORT: Final = 53

_ADDRESS_AND_PORT: Final = re.compile(
    r"(\[[0-9a-f:]+\]|[0-9.]+):([0-9]{1,5})", re.ASCII | re.IGNORECASE
)


class NameServer(NamedTuple):
    """Address and port of a DNS server."""

    address: IPv4Address | IPv6Address
    port: int = DNS_PORT


def parse_nameserver(text: object) -> NameServer:
    """Parse a DNS server such as `192.0.2.1`, `192.0.2.1:5353` or `[2001:db8::1]:5353`.

    Brackets are optional for an IPv6 address without a port; the default port is 53.

    Raises:
        ValueError: the text has none of these formats.
    """
    written = str(text)
    match = _ADDRESS_AND_PORT.fullmatch(written)
    try:
        if match is None:
            return NameServer(ip_address(written))
        server = NameServer(ip_address(match[1].strip("[]")), int(match[2]))
    except ValueError:
        raise ValueError("neither an address nor address:port") from None
    if not 0 < server.port < 65536:  # noqa: PLR2004 the range of TCP and UDP ports
        raise ValueError("not a valid port")
    return server


class OutboundSettings(Section):
    """Rules for addresses supplied by tenants: URLs of input images and of webhook receivers."""

    model_config = section_config("INFILL_OUTBOUND_")

    allowed_ports: frozenset[int] = Field(
        default=frozenset(),
        description="Ports allowed in addition to 80 and 443, as JSON, for example `[8443]`; "
        "`[0]` allows every port.",
    )
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Private networks to allow, as JSON of CIDRs; addresses in them may be called "
        "at any port. `infill up` allows loopback for itself.",
    )
    internal_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names of internal hosts that may be called although they have private "
        'addresses, as JSON, each with a port or without one: `["app:3000", '
        '"*.svc.cluster.local"]`. They are resolved by the system\'s resolver. Loopback, '
        "link-local addresses and metadata services stay closed.",
    )
    denied_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Public networks to deny, such as your own, as JSON of CIDRs.",
    )
    denied_hosts: frozenset[str] = Field(
        default=frozenset(),
        description="Host names to deny with all their subdomains, such as your own, as JSON.",
    )
    webhooks_https_only: bool = Field(
        default=False, description="Accept https addresses only for webhooks."
    )
    nameservers: tuple[Annotated[NameServer, BeforeValidator(parse_nameserver)], ...] = Field(
        default=(),
        description="DNS servers that resolve tenants' host names, as JSON of addresses with "
        'optional ports: `["192.0.2.53", "[2001:db8::53]:5353"]`. Use servers that know none of '
        "your internal names. Empty means the system's resolver.",
    )
    dns_timeout_seconds: PositiveFloat = Field(
        default=3.0, description="Longest time to resolve a host name."
    )
    image_timeout_seconds: PositiveFloat = Field(
        default=20.0, description="Longest time to fetch one image, including redirects."
    )
    image_max_bytes: PositiveInt = Field(
        default=20_000_000,
        description="Largest image file that is fetched, by its declared or its actual size.",
    )
