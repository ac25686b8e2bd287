"""Whether a part we depend on is there: said in the log when it changes, and only then."""

import structlog

from common.domain.errors import InfillError

log = structlog.get_logger(__name__)


class Availability:
    """Remembers whether one part answered when it was last asked."""

    def __init__(self, dependency: str) -> None:
        self._dependency = dependency
        self.is_available = True

    def mark_available(self) -> None:
        """Note that it answered."""
        if not self.is_available:
            self.is_available = True
            log.info("dependency_available", dependency=self._dependency)

    def mark_unavailable(self, error: Exception) -> None:
        """Note that it did not; the error's text may hold what a log must not, its name does."""
        if self.is_available:
            self.is_available = False
            cause = getattr(error, "orig", None) or error
            # What our own errors say to the operator is meant for the log.
            detail = {"detail": error.detail} if isinstance(error, InfillError) else {}
            log.warning(
                "dependency_unavailable",
                dependency=self._dependency,
                error=type(cause).__name__,
                **detail,
            )
