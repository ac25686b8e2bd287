"""Prometheus metrics of the gateway."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

# Seconds; a response may be held back until its job has ended.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)

REQUESTS: Final = Counter(
    "infill_requests",
    "Requests by route and outcome: the `status` of a v3 body, an error's code, or the HTTP status "
    "where there is neither.",
    ["route", "outcome"],
)
REQUEST_SECONDS: Final = Histogram(
    "infill_request_seconds",
    "Seconds from a request's first byte to its response, including the wait for its job.",
    ["route"],
    buckets=_BUCKETS,
)
SUBMIT_SECONDS: Final = Histogram(
    "infill_submit_seconds",
    "Seconds from a validated request to a recorded job whose worker was rung.",
    buckets=_BUCKETS,
)
CONNECTIONS: Final = Gauge("infill_connections", "Open HTTP connections of this gateway.")
CONNECTIONS_REFUSED: Final = Counter(
    "infill_connections_refused",
    "Requests refused and connections closed by the HTTP server itself, by reason.",
    ["reason"],
)
EVENT_LOOP_STALL_SECONDS: Final = Gauge(
    "infill_event_loop_stall_seconds",
    "Longest time in the last minute in which the event loop of this gateway was blocked.",
)
