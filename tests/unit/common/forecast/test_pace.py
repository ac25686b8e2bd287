"""The pace of a model, fitted to its latest jobs."""

import random

import pytest

from common.forecast.pace import FEWEST_FITTED, Pace, SpeedSamples, Workload


def samples(*jobs: tuple[float, float]) -> SpeedSamples:
    """Sum up jobs of these costs and seconds."""
    return SpeedSamples(
        len(jobs),
        sum(cost for cost, _ in jobs),
        sum(seconds for _, seconds in jobs),
        sum(cost**2 for cost, _ in jobs),
        sum(cost * seconds for cost, seconds in jobs),
    )


def test_without_samples_there_is_no_pace() -> None:
    assert Pace.fit(SpeedSamples()) is None
    assert Pace.fit(samples((0.0, 1.0))) is None
    assert SpeedSamples().mean_seconds == 0.0


def test_the_time_of_jobs_of_one_size_is_attributed_to_the_size() -> None:
    assert Pace.fit(samples(*[(10.0, 5.0)] * 50)) == Pace(0.5)


def test_a_fixed_cost_per_job_is_separated_from_that_of_its_size() -> None:
    jobs = [(cost, 2.0 + 0.4 * cost) for cost in (5.0, 10.0, 20.0, 40.0) * 5]
    learnt = Pace.fit(samples(*jobs))
    assert learnt is not None
    assert (learnt.seconds_per_job, learnt.seconds_per_unit) == pytest.approx((2.0, 0.4))
    assert learnt.seconds_for(Workload(3, 30)) == pytest.approx(18.0)


def test_pace_is_fitted_to_noisy_samples() -> None:
    draw = random.Random(1)
    jobs = [(c, (2.0 + 0.4 * c) * draw.uniform(0.9, 1.1)) for c in (5.0, 10.0, 20.0, 40.0) * 12]
    learnt = Pace.fit(samples(*jobs))
    assert learnt is not None
    assert learnt.seconds_for(Workload(1, 5)) == pytest.approx(4.0, rel=0.15)
    assert learnt.seconds_for(Workload(1, 40)) == pytest.approx(18.0, rel=0.1)


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param([(5.0, 4.0), (40.0, 18.0)] * (FEWEST_FITTED // 2 - 1), id="too few"),
        pytest.param([(10.0, 5.0), (10.5, 9.0)] * 20, id="too alike"),
        pytest.param([(5.0, 9.0), (40.0, 8.0)] * 20, id="larger ones faster"),
        pytest.param([(5.0, 1.0), (40.0, 30.0)] * 20, id="less than nothing for each"),
    ],
)
def test_time_that_cannot_be_separated_is_attributed_to_the_size(
    jobs: list[tuple[float, float]],
) -> None:
    ratio = sum(seconds for _, seconds in jobs) / sum(cost for cost, _ in jobs)
    learnt = Pace.fit(samples(*jobs))
    assert learnt is not None
    assert learnt.seconds_per_job == 0.0
    assert learnt.seconds_per_unit == pytest.approx(ratio)


def test_workloads_can_be_added() -> None:
    assert Workload(1, 2) + Workload(3, 4) == Workload(4, 6)
    assert Workload(4, 6).scale(0.5) == Workload(2, 3)
