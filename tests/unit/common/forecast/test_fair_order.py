"""The work that comes before a tag: against the plain sum, and against jobs served one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.forecast.fair_order import (
    JOBS_LOOKED_AT,
    Contender,
    Contention,
    alike,
    contender,
)
from common.forecast.pace import Load, Pace

PACE = Pace(0.5, 1.0)
tags = st.floats(0, 500)


@st.composite
def contenders(draw: st.DrawFn, *, limited: bool = True) -> Contender:
    jobs = draw(st.integers(1, 30) | st.floats(1, 30))
    return Contender(
        virtual_time=draw(st.floats(0, 300)),
        weight=draw(st.sampled_from([0.5, 1.0, 2.0, 4.0])),
        waiting=Load(jobs, jobs * draw(st.floats(0.5, 50))),
        most_running=draw(st.none() | st.integers(0, 3)) if limited else None,
        many=draw(st.integers(1, 3)),
    )


def served_before(tag: float, crowd: list[Contender]) -> float:
    """Serve jobs one by one, by the least virtual time, until none is before the tag."""
    times = [each.virtual_time for each in crowd]
    left = [round(each.waiting.jobs) for each in crowd]
    seconds = 0.0
    while True:
        ready = [(time, index) for index, time in enumerate(times) if left[index] and time < tag]
        if not ready:
            return seconds
        _, index = min(ready)
        left[index] -= 1
        times[index] += crowd[index].virtual_step
        seconds += crowd[index].many * PACE.seconds(
            crowd[index].waiting.part(1 / jobs(crowd[index]))
        )


def jobs(each: Contender) -> float:
    return each.waiting.jobs


@given(crowd=st.lists(contenders(limited=False), max_size=12), tag=tags)
def test_the_curve_is_the_plain_sum(crowd: list[Contender], tag: float) -> None:
    direct = sum(each.seconds_before(tag, PACE) for each in crowd)
    told = Contention(crowd, virtual_time=0.0, pace=PACE).seconds_before(tag)
    assert told == pytest.approx(direct, rel=1e-6, abs=1e-6)


@given(crowd=st.lists(contenders(limited=False), max_size=12), tag=tags)
def test_it_is_within_half_a_job_of_each_contender(crowd: list[Contender], tag: float) -> None:
    whole = [
        Contender(
            each.virtual_time,
            each.weight,
            each.waiting.part(round(jobs(each)) / jobs(each)),
            many=each.many,
        )
        for each in crowd
    ]
    allowed = sum(each.many * PACE.seconds(each.waiting) / jobs(each) for each in whole) / 2
    told = Contention(whole, virtual_time=0.0, pace=PACE).seconds_before(tag)
    assert told == pytest.approx(served_before(tag, whole), abs=allowed + 1e-6)


@given(crowd=st.lists(contenders(), min_size=1, max_size=12), tag=tags)
def test_without_one_is_as_if_it_were_not_there(crowd: list[Contender], tag: float) -> None:
    def told(some: list[Contender], without: Contender | None = None) -> float:
        contention = Contention(some, virtual_time=150.0, pace=PACE, engine_share=0.5)
        return contention.seconds_before(tag, without=without)

    first, *others = crowd
    assert told(crowd, first) == pytest.approx(told(others), rel=1e-6, abs=1e-6)


def test_nobody_before_a_tag_that_is_everybodys() -> None:
    crowd = [Contender(7.0, 1.0, Load(3, 30))] * 5
    assert Contention(crowd, virtual_time=7.0, pace=PACE).seconds_before(7.0) == 0.0


def test_weights_give_shares() -> None:
    crowd = [Contender(0.0, weight, Load(1000, 10_000)) for weight in (1.0, 2.0, 4.0)]
    one, two, four = (each.seconds_before(1000.0, PACE) for each in crowd)
    assert (two / one, four / one) == pytest.approx((2.0, 4.0), rel=0.01)


def test_a_tenant_passed_over_for_its_limit_gets_what_the_limit_lets_it() -> None:
    held = Contender(0.0, 1.0, Load(100, 1000), most_running=2)
    contention = Contention([held], virtual_time=500.0, pace=PACE)
    assert contention.has_held
    assert contention.seconds_before(600.0) == pytest.approx(360.0 + 3.0)  # 60 jobs and a half
    assert contention.seconds_before(600.0, within=10.0) == pytest.approx(20.0)
    assert contention.seconds_before(600.0, within=1e6) == pytest.approx(363.0)
    assert contention.seconds_before(600.0, within=10.0, without=held) == 0.0
    assert contention.seconds_before(600.0, without=held) == 0.0
    crowded = Contention([held], virtual_time=500.0, pace=PACE, engine_share=0.25)
    assert crowded.seconds_before(600.0, within=10.0) == pytest.approx(5.0)


def test_a_tenant_that_may_run_nothing_gets_nothing() -> None:
    held = Contender(0.0, 1.0, Load(100, 1000), most_running=0)
    contention = Contention([held], virtual_time=500.0, pace=PACE)
    assert contention.seconds_before(600.0, within=10.0) == 0.0
    assert contention.seconds_before(600.0, within=10.0, without=held) == 0.0


def test_a_tenant_with_a_limit_that_is_not_left_behind_is_served_in_its_order() -> None:
    contention = Contention(
        [Contender(500.0, 1.0, Load(100, 1000), most_running=2)], virtual_time=500.0, pace=PACE
    )
    assert not contention.has_held
    assert contention.seconds_before(600.0, within=0.0) > 0


@pytest.mark.parametrize(
    ("backlog", "next_jobs", "waiting"),
    [
        (0.0, Load(0, 0), None),  # known as ready, and has nothing after all
        (500.0, Load(2, 30), Load(2, 30)),  # counted before they were taken
        (0.0, Load(2, 30), Load(2, 30)),  # not counted yet
        (0.0, Load(JOBS_LOOKED_AT, 40), Load(JOBS_LOOKED_AT, 40)),
        (500.0, Load(JOBS_LOOKED_AT, 40), Load(50, 500)),
    ],
)
def test_what_waits_by_the_books_and_the_next_jobs(
    backlog: float, next_jobs: Load, waiting: Load | None
) -> None:
    made = contender(3.0, 2.0, backlog, next_jobs, most_running=4)
    assert made == (waiting and Contender(3.0, 2.0, waiting, 4))


def test_the_unread_are_like_the_read_and_behind_them() -> None:
    read = [Contender(1.0, 1.0, Load(2, 20)), Contender(5.0, 3.0, Load(4, 60))]
    assert alike(read, 8) == [Contender(5.0, 2.0, Load(3, 40), many=8)]
    assert alike(read, 0) == []
    assert alike([], 8) == []
