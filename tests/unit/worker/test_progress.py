from worker.progress import MEASURED_STEPS, StepTimer


def test_the_duration_of_a_step_is_a_mean_over_two_steps_or_more() -> None:
    timer = StepTimer()
    assert timer.record_step(1, 100.0) is None
    assert timer.record_step(1, 101.0) is None  # reported twice
    assert timer.record_step(3, 104.0) == 2.0
    assert timer.record_step(4, 106.0) == 2.0


def test_the_duration_of_a_step_follows_the_latest_steps() -> None:
    timer = StepTimer()
    for step in range(50):
        timer.record_step(step, float(step))
    measured = [timer.record_step(50 + step, 50.0 + 3 * step) for step in range(MEASURED_STEPS + 1)]
    assert measured[0] == 1.0
    assert measured[-1] == 3.0
