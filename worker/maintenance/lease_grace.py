"""When a lease that has run out may be believed to be lost."""

from typing import Final, Self

from common.settings import JobSettings

# Of a lease. It is renewed at least twice in its time: a silence shorter than half of it has cost
# nobody his.
_HARMLESS: Final = 0.5
# After a missed beat a worker tries again each second; this is for those tries, a slow connection
# included.
_TRIES_SECONDS: Final = 5.0


class LeaseGracePeriod:
    """A lease is a sign of life written to Postgres: while it is away, nobody can give one.

    After an absence all leases have run out although all workers may live. So none is believed
    to be lost before Postgres has been there for `seconds`: whoever lives has renewed by then.
    An absence is a silence of more than `harmless_seconds` between two answers. Times are in
    seconds of one monotonic clock.
    """

    def __init__(self, seconds: float, *, harmless_seconds: float, now: float) -> None:
        self._seconds = seconds
        self._harmless_seconds = harmless_seconds
        self._last_response = now
        self._back_since: float | None = None

    @classmethod
    def of(cls, settings: JobSettings, *, now: float) -> Self:
        """Give what these leases need, for somebody who asks every `sweep_seconds`."""
        return cls(
            min(settings.lease_seconds, settings.heartbeat_seconds + _TRIES_SECONDS),
            harmless_seconds=settings.lease_seconds * _HARMLESS + settings.sweep_seconds,
            now=now,
        )

    def record_response(self, now: float) -> None:
        """Note that Postgres has answered."""
        if now - self._last_response > self._harmless_seconds:
            self._back_since = now
        self._last_response = now

    def is_over(self, now: float, *, up_seconds: float) -> bool:
        """Tell whether leases count, for a Postgres that was started `up_seconds` ago."""
        if self._back_since is not None and now - self._back_since < self._seconds:
            return False
        return up_seconds >= self._seconds
