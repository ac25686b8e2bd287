"""Grace period for expired leases after an outage of Postgres."""

from typing import Final, Self

from common.settings import JobSettings

# Part of a lease. Leases are renewed at least twice in their time, so an outage shorter than half
# a lease cannot expire a live worker's lease.
_HARMLESS: Final = 0.5
# For a worker's tries to renew after a missed heartbeat, one a second, over a slow connection.
_TRIES_SECONDS: Final = 5.0


class LeaseGracePeriod:
    """The period after a Postgres outage in which expired leases do not count as lost.

    During an outage workers cannot renew their leases, so afterwards all leases may have expired
    although all workers are alive. Leases count again once Postgres has been available for
    `seconds`: live workers have renewed their leases by then. An outage is a gap of more than
    `harmless_seconds` between two responses of Postgres. Times are in seconds of a monotonic clock.
    """

    def __init__(self, seconds: float, *, harmless_seconds: float, now: float) -> None:
        self._seconds = seconds
        self._harmless_seconds = harmless_seconds
        self._last_response = now
        self._back_since: float | None = None

    @classmethod
    def of(cls, settings: JobSettings, *, now: float) -> Self:
        """Return the grace period for the lease times in `settings`, starting at `now`.

        The sweeper checks it every `sweep_seconds`. `now` is in seconds of a monotonic clock.
        """
        return cls(
            min(settings.lease_seconds, settings.heartbeat_seconds + _TRIES_SECONDS),
            harmless_seconds=settings.lease_seconds * _HARMLESS + settings.sweep_seconds,
            now=now,
        )

    def record_response(self, now: float) -> None:
        """Record that Postgres responded at `now` (seconds of a monotonic clock)."""
        if now - self._last_response > self._harmless_seconds:
            self._back_since = now
        self._last_response = now

    def is_over(self, now: float, *, up_seconds: float) -> bool:
        """Return whether expired leases count as lost at `now`.

        `up_seconds` is the time since Postgres was started.
        """
        if self._back_since is not None and now - self._back_since < self._seconds:
            return False
        return up_seconds >= self._seconds
