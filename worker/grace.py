"""When a lease that has run out may be believed to be lost."""

from typing import Final

# Of a lease. Leases are renewed at least twice in their time, so a silence shorter than half of
# it has cost nobody his.
_HARMLESS: Final = 0.5


class Grace:
    """A lease is a sign of life written to Postgres: while it is away, nobody can give one.

    After an absence all leases have run out although all workers may live. So none is believed
    to be lost before Postgres has been there for a whole lease: whoever lives has renewed by then.
    Times are in seconds of one monotonic clock.
    """

    def __init__(self, lease_seconds: float, *, now: float) -> None:
        self._lease_seconds = lease_seconds
        self._last_answer = now
        self._back_since: float | None = None

    def answered(self, now: float) -> None:
        """Note that Postgres has answered."""
        if now - self._last_answer > self._lease_seconds * _HARMLESS:
            self._back_since = now
        self._last_answer = now

    def is_over(self, now: float, *, up_seconds: float) -> bool:
        """Tell whether leases count, for a Postgres that was started `up_seconds` ago."""
        if self._back_since is not None and now - self._back_since < self._lease_seconds:
            return False
        return up_seconds >= self._lease_seconds
