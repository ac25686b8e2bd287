"""The state of a tenant's limit, and the rate limit headers that report it.

The headers follow draft-ietf-httpapi-ratelimit-headers, revision 10: lists of structured fields
(RFC 9651), one item per policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """The state of a limit: `remaining` of `quota` units, and `seconds` until there are more.

    If `unit` is None, the unit is requests, the draft's default. `window` is the time in seconds in
    which the whole quota refills, or None if it does not refill in a fixed time.
    """

    policy: str
    quota: int
    remaining: int
    seconds: int
    window: int | None = None
    unit: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers `RateLimit-Policy` (the limit) and `RateLimit` (what remains of it)."""
        unit = "" if self.unit is None else f';qu="{self.unit}"'
        window = "" if self.window is None else f";w={self.window}"
        return {
            "ratelimit-policy": f'"{self.policy}";q={self.quota}{unit}{window}',
            "ratelimit": f'"{self.policy}";r={self.remaining};t={self.seconds}',
        }
