"""Counts of refused requests and closed connections, logged at a bounded rate."""

import structlog

from api.metrics import CONNECTIONS_REFUSED

log = structlog.get_logger(__name__)


class RefusedLog:
    """Counter of refused requests by reason; logs each reason once per `seconds` at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._unlogged: dict[str, int] = {}
        self._logged_at: dict[str, float] = {}

    def count(self, reason: str, now: float) -> None:
        """Count one, and log it unless this reason has been logged recently."""
        CONNECTIONS_REFUSED.labels(reason).inc()
        self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
        self._log_if_due(reason, now)

    def flush(self, now: float) -> None:
        """Log the reasons that were counted since their last line and are due again."""
        for reason in list(self._unlogged):
            self._log_if_due(reason, now)

    def _log_if_due(self, reason: str, now: float) -> None:
        logged_at = self._logged_at.get(reason)
        if logged_at is not None and now < logged_at + self._seconds:
            return
        self._logged_at[reason] = now
        log.warning("connections_refused", reason=reason, count=self._unlogged.pop(reason))
