"""Limits and deadlines of connections, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.connections.addresses import Network
from common.settings import HttpSettings


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits and deadlines of the connections to one gateway; durations are in seconds."""

    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    body_seconds: float = 15.0
    response_seconds: float = 30.0
    bytes_per_second: float = 1000.0
    # After a response, the unread rest of a request is discarded within these limits. A client
    # that sends the whole request before it reads would otherwise see a reset connection.
    drain_bytes: int = 64_000_000
    drain_seconds: float = 30.0
    drain_pause_seconds: float = 5.0
    connections: int = 8192
    per_address: int = 4096
    trusted_proxies: Sequence[Network] = ()
    sweep_seconds: float = 0.25
    log_seconds: float = 10.0


def read_limits(settings: HttpSettings, capacity: int) -> ConnectionLimits:
    """Return the limits of a gateway that can hold `capacity` connections."""
    return ConnectionLimits(
        head_seconds=settings.head_timeout_seconds,
        idle_seconds=settings.idle_timeout_seconds,
        body_seconds=settings.body_timeout_seconds,
        response_seconds=settings.response_timeout_seconds,
        bytes_per_second=settings.min_bytes_per_second,
        connections=capacity,
        per_address=settings.max_connections_per_address or max(1, capacity // 2),
        trusted_proxies=settings.trusted_proxies,
    )
