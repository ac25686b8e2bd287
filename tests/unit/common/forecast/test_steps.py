import pytest

from common.forecast.pace import StageSeconds
from common.forecast.steps import StepProgress

STAGES = StageSeconds(fetch=9.0, decode=3.0, upload=2.0)


@pytest.mark.parametrize(
    ("step", "age", "left"),
    [
        (46, 0.0, 24 * 1.5 + 5),
        (46, 0.5, 24 * 1.5 + 5 - 0.5),
        (46, 99.0, 23 * 1.5 + 5),  # the current step takes longer, and may end at once
        (46, -5.0, 24 * 1.5 + 5),  # the worker's clock is ahead
        (70, 0.0, 5.0),
        (70, 4.0, 1.0),
        (70, 99.0, 0.0),
    ],
)
def test_the_rest_is_the_remaining_steps_and_what_follows(
    step: int, age: float, left: float
) -> None:
    progress = StepProgress(step, 70, 1.5, age)
    assert progress.seconds_left(99.0, STAGES, images=1, is_measured=True) == pytest.approx(left)


def test_decoding_is_estimated_by_steps_until_it_is_measured() -> None:
    progress = StepProgress(30, 40, 1.5, 0.0)
    stages = StageSeconds(upload=2.0)
    assert progress.seconds_left(99.0, stages, images=2, is_measured=True) == 15 + 6 + 2


def test_before_two_steps_are_measured_the_expected_duration_is_used() -> None:
    progress = StepProgress(1, 40, None, 0.0)
    assert progress.seconds_left(0.5, STAGES, images=1, is_measured=True) == 39 * 0.5 + 5


@pytest.mark.parametrize(("step", "each"), [(2, 1.75), (3, 2.5), (5, 4.0), (6, 4.0)])
def test_the_first_measured_steps_count_less_than_a_measured_model(step: int, each: float) -> None:
    progress = StepProgress(step, 40, 4.0, 0.0)
    left = progress.seconds_left(1.0, STAGES, images=1, is_measured=True)
    assert left == (40 - step) * each + 5
    alone = progress.seconds_left(1.0, STAGES, images=1, is_measured=False)
    assert alone == (40 - step) * 4.0 + 5
