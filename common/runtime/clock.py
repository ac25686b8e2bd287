"""Current time and monotonic time; no other module reads the clock."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)  # noqa: TID251 this is that place


def monotonic() -> float:
    """Return the monotonic time in seconds, for measuring durations; its zero is arbitrary."""
    return time.monotonic()
