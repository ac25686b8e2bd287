"""What the guard on outgoing requests lets through."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field, PositiveFloat, PositiveInt

from common.settings.section import Section, prefixed


class OutboundSettings(Section):
    """Rules for every address a tenant hands us: images to fetch, webhooks to call."""

    model_config = prefixed("INFILL_OUTBOUND_")

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
    dns_timeout_seconds: PositiveFloat = Field(
        default=3.0, description="Longest wait for a name to resolve."
    )
    image_timeout_seconds: PositiveFloat = Field(
        default=20.0, description="Whole time for one image, redirects included."
    )
    image_max_bytes: PositiveInt = Field(
        default=20_000_000, description="Largest image file taken, declared or actual."
    )
