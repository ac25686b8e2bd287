"""The time until a slot is free, compared with a simulation."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.forecast.slots import Slots

seconds = st.floats(0, 100)


def simulate(busy: list[float], count: int, jobs: list[float]) -> float:
    """Simulate the slots taking the jobs, and return when the next one would be taken."""
    free = busy + [0.0] * (count - len(busy))
    heapq.heapify(free)
    for job in jobs:
        heapq.heappush(free, heapq.heappop(free) + job)
    return free[0]


def test_an_idle_slot_takes_a_job_at_once() -> None:
    assert Slots([], count=1).seconds_until_free(0.0, typical=10.0) == 0.0
    assert Slots([7.0], count=2).seconds_until_free(0.0, typical=10.0) == 0.0
    assert Slots([], count=4).seconds_until_free(10.0, typical=10.0) == 0.0  # one of four is taken


def test_the_first_slot_to_become_free_takes_the_next_job() -> None:
    assert Slots([7.0, 3.0, -1.0], count=3).seconds_until_free(0.0, typical=10.0) == 0.0
    assert Slots([7.0, 3.0], count=1).seconds_until_free(0.0, typical=10.0) == 3.0


def test_one_slot_does_all_the_work_ahead() -> None:
    assert Slots([4.0], count=1).seconds_until_free(25.0, typical=10.0) == 29.0
    assert Slots([], count=1).seconds_until_free(25.0, typical=10.0) == 25.0


@pytest.mark.parametrize("jobs", range(9))
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_the_estimate_for_equal_jobs_is_nearly_exact(count: int, jobs: int) -> None:
    busy = [10.0 * number / count for number in range(count)]
    expected = simulate(busy, count, [10.0] * jobs)
    assert Slots(busy, count=count).seconds_until_free(10.0 * jobs, typical=10.0) == pytest.approx(
        expected, abs=0.5
    )


@given(
    busy=st.lists(seconds, min_size=1, max_size=6),
    idle=st.integers(0, 3),
    jobs=st.lists(st.floats(1, 20), max_size=40),
)
def test_the_estimate_is_off_by_less_than_the_longest_job(
    busy: list[float], idle: int, jobs: list[float]
) -> None:
    count = len(busy) + idle
    typical = sum(jobs) / len(jobs) if jobs else 0.0
    expected = simulate(busy, count, jobs)
    estimate = Slots(busy, count=count).seconds_until_free(sum(jobs), typical=typical)
    assert estimate == pytest.approx(expected, abs=max(jobs, default=0.0) + 1e-6)
