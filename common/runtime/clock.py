"""The only module that reads the clock."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present time as an aware datetime in UTC."""
    return datetime.now(UTC)  # noqa: TID251 this is that place


def monotonic() -> float:
    """Return seconds for measuring durations; the zero point is arbitrary."""
    return time.monotonic()
