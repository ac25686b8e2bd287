"""When expired leases count again after an outage; times are in seconds."""

import pytest

from common.settings import JobSettings
from worker.maintenance.lease_grace import LeaseGracePeriod

GRACE = 60.0
HARMLESS = 30.0
LONG_UP = 10_000.0


@pytest.mark.parametrize(
    ("responses", "at", "over"),
    [
        ([], 0, True),  # a sweeper that has just begun, as when another died
        ([2, 4, 6], 6, True),
        ([2, 32, 62], 62, True),  # a silence this short is harmless
        ([2, 33], 33, False),
        ([2, 33], 92.9, False),
        ([2, 33], 93, True),
        ([2, 33, 35, 37], 92.9, False),
        ([2, 33, 90], 93, False),  # unavailable again meanwhile
        ([31], 31, False),  # unavailable since this process began
    ],
)
def test_after_an_outage_leases_count_again_once_all_could_be_renewed(
    responses: list[float], at: float, *, over: bool
) -> None:
    grace = LeaseGracePeriod(GRACE, harmless_seconds=HARMLESS, now=0)
    for at_seconds in responses:
        grace.record_response(at_seconds)
    assert grace.is_over(at, up_seconds=LONG_UP) is over


@pytest.mark.parametrize(("up_seconds", "over"), [(0, False), (59.9, False), (60, True)])
def test_a_postgres_that_just_started_counts_as_an_outage(up_seconds: float, *, over: bool) -> None:
    assert (
        LeaseGracePeriod(GRACE, harmless_seconds=HARMLESS, now=0).is_over(0, up_seconds=up_seconds)
        is over
    )


@pytest.mark.parametrize(
    ("lease", "heartbeat", "seconds", "harmless"),
    [(60.0, 15.0, 20.0, 32.0), (4.0, 1.0, 4.0, 4.0), (6.0, 3.0, 6.0, 5.0)],
)
def test_the_grace_period_matches_the_leases(
    lease: float, heartbeat: float, seconds: float, harmless: float
) -> None:
    settings = JobSettings(lease_seconds=lease, heartbeat_seconds=heartbeat, sweep_seconds=2)
    grace = LeaseGracePeriod.of(settings, now=0)
    assert not grace.is_over(0, up_seconds=seconds - 0.1)
    assert grace.is_over(0, up_seconds=seconds)
    grace.record_response(harmless)
    assert grace.is_over(harmless, up_seconds=LONG_UP)
    grace.record_response(2.1 * harmless)
    assert not grace.is_over(2.1 * harmless, up_seconds=LONG_UP)


def test_the_sweepers_interval_is_no_outage() -> None:
    settings = JobSettings(lease_seconds=3, heartbeat_seconds=1, sweep_seconds=2)
    grace = LeaseGracePeriod.of(settings, now=0)
    for at_seconds in range(2, 20, 2):
        grace.record_response(at_seconds)
    assert grace.is_over(18, up_seconds=LONG_UP)
