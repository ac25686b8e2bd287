"""Track whether a dependency, such as Redis, is available; only changes are logged."""

import structlog

from common.domain.errors import InfillError

log = structlog.get_logger(__name__)


class Availability:
    """Records whether a dependency responded to the last request sent to it."""

    def __init__(self, dependency: str) -> None:
        self._dependency = dependency
        self.is_available = True

    def mark_available(self) -> None:
        """Record that the dependency responded; log it if it was unavailable before."""
        if not self.is_available:
            self.is_available = True
            log.info("dependency_available", dependency=self._dependency)

    def mark_unavailable(self, error: Exception) -> None:
        """Record that the dependency did not respond; only the error's type is logged."""
        if self.is_available:
            self.is_available = False
            cause = getattr(error, "orig", None) or error
            # The detail of our own errors is written for the log.
            detail = {"detail": error.detail} if isinstance(error, InfillError) else {}
            log.warning(
                "dependency_unavailable",
                dependency=self._dependency,
                error=type(cause).__name__,
                **detail,
            )
