"""Settings of the gateway's HTTP connections: deadlines, limits and trusted proxies."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field, PositiveFloat, PositiveInt

from common.settings.section import Section, section_config


class HttpSettings(Section):
    """Deadlines and limits of the connections to a gateway."""

    model_config = section_config("INFILL_HTTP_")

    head_timeout_seconds: PositiveFloat = Field(
        default=10.0,
        description="Longest time from the first byte of a request, or from a new connection, to "
        "the end of the request's headers.",
    )
    idle_timeout_seconds: PositiveFloat = Field(
        default=75.0,
        description="How long a connection stays open between two requests; longer than load "
        "balancers keep idle connections (usually 60 s), so that they close first.",
    )
    body_timeout_seconds: PositiveFloat = Field(
        default=15.0,
        description="Time that a request body has in addition to the time that it needs at the "
        "least rate; so also the longest pause in a body.",
    )
    response_timeout_seconds: PositiveFloat = Field(
        default=30.0,
        description="The same time for a client that reads a response.",
    )
    min_bytes_per_second: PositiveInt = Field(
        default=1000,
        description="Least rate at which clients must send bodies and read responses, in bytes "
        "per second; slower ones are disconnected when they have used up the time-out.",
    )
    max_connections: PositiveInt = Field(
        default=8192,
        description="Most connections of one gateway; fewer if the limit of open files is lower. "
        "At the limit the gateway closes idle connections, then unfinished requests, the oldest "
        "first, to accept new ones.",
    )
    max_connections_per_address: PositiveInt | None = Field(
        default=None,
        description="Most connections of one address, or of one /64 network of IPv6; behind "
        "trusted proxies, most concurrent requests. Empty means half of all connections, so that "
        "a load balancer that is not listed as trusted still works.",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Networks of your proxies and load balancers, as JSON of CIDRs; for requests "
        "from them the client's address is read from `X-Forwarded-For`.",
    )
