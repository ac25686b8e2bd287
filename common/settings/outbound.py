"""What the guard on outgoing requests lets through."""

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
    """Where names are looked up."""

    address: IPv4Address | IPv6Address
    port: int = DNS_PORT


def parse_nameserver(text: object) -> NameServer:
    """Read `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`.

    Raises:
        ValueError: it is none of these.
    """
    spelled = str(text)
    given = _ADDRESS_AND_PORT.fullmatch(spelled)
    try:
        if given is None:
            return NameServer(ip_address(spelled))
        server = NameServer(ip_address(given[1].strip("[]")), int(given[2]))
    except ValueError:
        raise ValueError("not an address, nor address:port") from None
    if not 0 < server.port < 65536:  # noqa: PLR2004 the ports there are
        raise ValueError("no such port")
    return server


class OutboundSettings(Section):
    """Rules for every address a tenant hands us: images to fetch, webhooks to call."""

    model_config = section_config("INFILL_OUTBOUND_")

    allowed_ports: frozenset[int] = Field(
        default=frozenset(),
        description="Ports allowed beside 80 and 443, as JSON, for example `[8443]`; "
        "`[0]` allows every port.",
    )
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Networks allowed although private, as JSON of CIDRs; addresses in them may be "
        "called at any port. The local stack opens loopback for itself.",
    )
    denied_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Networks refused although public (your own), as JSON of CIDRs."
    )
    denied_hosts: frozenset[str] = Field(
        default=frozenset(),
        description="Host names refused with everything below them (your own), as JSON.",
    )
    webhooks_https_only: bool = Field(
        default=False, description="Refuse webhooks that are not https."
    )
    nameservers: tuple[Annotated[NameServer, BeforeValidator(parse_nameserver)], ...] = Field(
        default=(),
        description="DNS servers to look tenants' names up at, as JSON of addresses, a port may "
        'follow: `["192.0.2.53", "[2001:db8::53]:5353"]`. Best ones that know no names of your '
        "own. Empty means the system's.",
    )
    dns_timeout_seconds: PositiveFloat = Field(
        default=3.0, description="Longest wait for a name to resolve."
    )
    image_timeout_seconds: PositiveFloat = Field(
        default=20.0, description="Whole time for one image, redirects included."
    )
    image_max_bytes: PositiveInt = Field(
        default=20_000_000, description="Largest image file taken, declared or actual."
    )
