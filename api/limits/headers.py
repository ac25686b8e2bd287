"""The state of one limit of a tenant, and its rate limit headers.

The headers are those of draft-ietf-httpapi-ratelimit-headers, revision 10: lists of structured
fields (RFC 9651), one item per policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """The state of a limit: `remaining` of `quota` units are left, and more follow in `seconds`.

    `unit` None means requests, the draft's default. `window` is the time in seconds in which the
    whole quota refills, None where that is no fixed time.
    """

    policy: str
    quota: int
    remaining: int
    seconds: int
    window: int | None = None
    unit: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """Return `RateLimit-Policy`, what is allowed, and `RateLimit`, what is left of it."""
        unit = "" if self.unit is None else f';qu="{self.unit}"'
        window = "" if self.window is None else f";w={self.window}"
        return {
            "ratelimit-policy": f'"{self.policy}";q={self.quota}{unit}{window}',
            "ratelimit": f'"{self.policy}";r={self.remaining};t={self.seconds}',
        }
