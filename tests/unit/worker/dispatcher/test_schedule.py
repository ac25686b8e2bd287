from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import WebhookSettings
from worker.dispatcher.schedule import (
    Blocked,
    Delivered,
    Discarded,
    Exhausted,
    NoResponse,
    Outcome,
    Responded,
    Retry,
    decide,
    is_healthy,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = WebhookSettings()
EVEN = 0.5  # the draw that neither stretches nor shrinks
HOUR = 3600.0


def wait(outcome: Outcome, failures: int = 0, draw: float = EVEN) -> float:
    decision = decide(outcome, failures, NOW, draw, SETTINGS)
    assert isinstance(decision, Retry)
    return (decision.at - NOW).total_seconds()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_success_after_any_number_of_failures(status: int) -> None:
    for failures in (0, 9, 50):
        assert decide(Responded(status), failures, NOW, EVEN, SETTINGS) == Delivered()


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 429, 500])
def test_any_other_status_is_retried(status: int) -> None:
    assert wait(Responded(status)) == 5


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Responded(410), "gone"),
        (Responded(500, is_unwanted=True), "abort_message"),
        (Blocked(), "address_not_allowed"),
    ],
)
def test_an_unwanted_or_forbidden_delivery_is_discarded(outcome: Outcome, reason: str) -> None:
    assert decide(outcome, 0, NOW, EVEN, SETTINGS) == Discarded(reason)


def test_the_waits_follow_the_schedule_to_its_end() -> None:
    timeout = NoResponse("timeout")
    waits = [wait(timeout, failures) for failures in range(9)]
    hours = [2, 5, 10, 14, 20, 24]
    assert waits == [5, 300, 1800, *(hour * HOUR for hour in hours)]
    assert decide(timeout, 9, NOW, EVEN, SETTINGS) == Exhausted()


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 240), (0.5, 300), (1.0, 360)])
def test_jitter_moves_a_wait_by_up_to_a_fifth(draw: float, seconds: float) -> None:
    assert wait(NoResponse("dns"), 1, draw) == pytest.approx(seconds)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("1", 5),  # never earlier than the schedule
        ("0", 5),
        ("999999", 10 * HOUR),  # and at most ten hours
        ("9" * 5000, 10 * HOUR),
        (format_datetime(NOW + timedelta(minutes=10), usegmt=True), 600),
        ("Sun, 01 Mar 2026 12:10:00 -0000", 600),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 5),
        ("-5", 5),
        ("1.5", 5),
        ("٣٠", 5),
        ("soon", 5),
        ("", 5),
    ],
)
def test_a_busy_receiver_may_ask_for_a_longer_wait(
    status: int, retry_after: str, seconds: float
) -> None:
    assert wait(Responded(status, retry_after)) == seconds


def test_the_schedule_may_be_longer_than_the_limit_of_retry_after() -> None:
    assert wait(Responded(503, "999999"), 8) == 24 * HOUR


def test_retry_after_is_ignored_with_other_statuses() -> None:
    assert wait(Responded(500, "120")) == 5


@given(st.text(), st.integers(0, 8), st.floats(0, 1))
def test_no_header_breaks_the_bounds(retry_after: str, failures: int, draw: float) -> None:
    seconds = wait(Responded(503, retry_after), failures, draw)
    scheduled = SETTINGS.retry_schedule_seconds[failures]
    assert 0.79 * scheduled <= seconds <= max(1.21 * scheduled, 10 * HOUR)


@given(
    st.integers(-(10**18), 10**18),
    st.integers(0, 10**18),
    st.sampled_from(["GMT", "+9999", "-9999", "-0000", "+999999999999999999999"]),
)
def test_no_absurd_date_breaks_the_bounds(day: int, year: int, zone: str) -> None:
    seconds = wait(Responded(429, f"Mon, {day} Jan {year} 00:00:00 {zone}"))
    assert 5 <= seconds <= 10 * HOUR


@pytest.mark.parametrize(
    ("outcome", "healthy"),
    [
        (Responded(204), True),
        (Responded(410), True),
        (Responded(500, is_unwanted=True), True),
        (Responded(500), False),
        (Responded(301), False),
        (Responded(429, "60"), False),
        (NoResponse("timeout"), False),
        (NoResponse("storage_unavailable", is_ours=True), None),
        (Blocked(), None),
    ],
)
def test_the_health_of_a_receiver_follows_from_the_outcome(
    outcome: Outcome, *, healthy: bool | None
) -> None:
    assert is_healthy(outcome) is healthy
