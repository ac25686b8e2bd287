"""When a new key stops working."""

from datetime import datetime

from common.domain.errors import InvalidValueError
from common.runtime.clock import utc_now


def check_expiry(expires_at: datetime | None) -> None:
    """Refuse an expiry that a key could not be made for; None is never.

    Raises:
        InvalidValueError: it has no time zone, or is past.
    """
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise InvalidValueError("expires_at", "must have a time zone, as 2027-01-31T00:00:00Z has")
    if expires_at <= utc_now():
        raise InvalidValueError("expires_at", "must be in the future")
