"""The gateway's own numbers."""

from typing import Final

from prometheus_client import Counter, Histogram

# Seconds; an answer may be held back until its job has ended.
_HELD_BACK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)

REQUESTS: Final = Counter(
    "infill_requests",
    "Answered requests by route and outcome: the status a v3 body tells, the code of a refusal, "
    "or the HTTP status where there is neither.",
    ["route", "outcome"],
)
REQUEST_SECONDS: Final = Histogram(
    "infill_request_seconds",
    "From a request's first byte to its answer, the wait for its job included.",
    ["route"],
    buckets=_HELD_BACK,
)
SUBMIT_SECONDS: Final = Histogram(
    "infill_submit_seconds",
    "From a read body to a recorded job whose worker has been rung.",
    buckets=_HELD_BACK,
)
