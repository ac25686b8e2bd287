"""Whether a part we depend on is there: said in the log when it changes, and only then."""

import structlog

from common.domain.errors import InfillError

log = structlog.get_logger(__name__)


class Availability:
    """Remembers whether one part answered when it was last asked."""

    def __init__(self, part: str) -> None:
        self._part = part
        self.there = True

    def found(self) -> None:
        """Note that it answered."""
        if not self.there:
            self.there = True
            log.info("part_came_back", part=self._part)

    def missed(self, error: Exception) -> None:
        """Note that it did not; the error's text may hold what a log must not, its name does."""
        if self.there:
            self.there = False
            cause = getattr(error, "orig", None) or error
            # What our own errors say to the operator is meant for the log.
            told = {"detail": error.detail} if isinstance(error, InfillError) else {}
            log.warning("part_went_away", part=self._part, error=type(cause).__name__, **told)
