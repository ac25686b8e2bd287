"""The one place that reads the clock."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Give the present time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 this is that place


def monotonic() -> float:
    """Give seconds for measuring durations; the zero point means nothing."""
    return time.monotonic()
