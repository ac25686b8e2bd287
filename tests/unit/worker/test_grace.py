"""When leases count again after an absence; times are seconds."""

import pytest

from worker.grace import Grace

LEASE = 60.0
LONG_UP = 10_000.0


@pytest.mark.parametrize(
    ("answers", "at", "over"),
    [
        ([], 0, True),  # a sweeper that has just begun, as when another died
        ([2, 4, 6], 6, True),
        ([2, 32, 62], 62, True),  # a silence this short has cost nobody his lease
        ([2, 33], 33, False),
        ([2, 33], 92.9, False),
        ([2, 33], 93, True),
        ([2, 33, 35, 37], 92.9, False),
        ([2, 33, 90], 93, False),  # away again meanwhile
        ([31], 31, False),  # away since this process began
    ],
)
def test_after_an_absence_leases_count_again_once_all_could_renew(
    answers: list[float], at: float, *, over: bool
) -> None:
    grace = Grace(LEASE, now=0)
    for answer in answers:
        grace.answered(answer)
    assert grace.is_over(at, up_seconds=LONG_UP) is over


@pytest.mark.parametrize(("up_seconds", "over"), [(0, False), (59.9, False), (60, True)])
def test_a_postgres_just_started_was_away(up_seconds: float, *, over: bool) -> None:
    assert Grace(LEASE, now=0).is_over(0, up_seconds=up_seconds) is over
