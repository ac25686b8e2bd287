"""How a tenant stands to one limit, as the headers tell it.

They are those of draft-ietf-httpapi-ratelimit-headers, in the form of its revision 10: lists of
structured fields (RFC 9651), one item per policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """Of `quota` units, `remaining` are left, and in `seconds` there will be more.

    `unit` None is what the draft takes for granted: requests. `window` is the time in seconds in
    which a whole quota comes back, None where that is no fixed time.
    """

    policy: str
    quota: int
    remaining: int
    seconds: int
    window: int | None = None
    unit: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The two headers: what is allowed, and what is left of it."""
        unit = "" if self.unit is None else f';qu="{self.unit}"'
        window = "" if self.window is None else f";w={self.window}"
        return {
            "ratelimit-policy": f'"{self.policy}";q={self.quota}{unit}{window}',
            "ratelimit": f'"{self.policy}";r={self.remaining};t={self.seconds}',
        }
