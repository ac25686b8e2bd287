from datetime import UTC, datetime, timedelta

import pytest

from api.limits.headers import RateLimitSnapshot
from api.limits.quotas import seconds_to_next_month


def test_the_headers_are_lists_of_structured_fields() -> None:
    assert RateLimitSnapshot("requests", 60, 12, 1, window=60).headers == {
        "ratelimit-policy": '"requests";q=60;w=60',
        "ratelimit": '"requests";r=12;t=1',
    }
    assert RateLimitSnapshot("queued", 5, 0, 9, unit="jobs").headers == {
        "ratelimit-policy": '"queued";q=5;qu="jobs"',
        "ratelimit": '"queued";r=0;t=9',
    }


@pytest.mark.parametrize(
    ("now", "next_month"),
    [
        (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        (datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        (datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 12, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_month_ends_where_the_next_begins(now: datetime, next_month: datetime) -> None:
    assert timedelta(seconds=seconds_to_next_month(now)) == next_month - now


def test_seconds_to_the_next_month_are_rounded_up() -> None:
    assert seconds_to_next_month(datetime(2026, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)) == 1
