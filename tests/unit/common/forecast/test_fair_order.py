"""The work before a start tag, compared with a plain sum, and with jobs served one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.forecast.fair_order import (
    SAMPLED_JOBS,
    QueueContention,
    WaitingTenant,
    extrapolate_tenants,
    make_waiting_tenant,
)
from common.forecast.pace import Pace, Workload

PACE = Pace(0.5, 1.0)
tags = st.floats(0, 500)


@st.composite
def waiting_tenants(draw: st.DrawFn, *, limited: bool = True) -> WaitingTenant:
    jobs = draw(st.integers(1, 30) | st.floats(1, 30))
    return WaitingTenant(
        virtual_time=draw(st.floats(0, 300)),
        weight=draw(st.sampled_from([0.5, 1.0, 2.0, 4.0])),
        waiting=Workload(jobs, jobs * draw(st.floats(0.5, 50))),
        max_running=draw(st.none() | st.integers(0, 3)) if limited else None,
        count=draw(st.integers(1, 3)),
    )


def served_before(tag: float, tenants: list[WaitingTenant]) -> float:
    """Return the seconds until no job is before the tag, by serving them one by one."""
    times = [each.virtual_time for each in tenants]
    left = [round(each.waiting.jobs) for each in tenants]
    seconds = 0.0
    while True:
        ready = [(time, index) for index, time in enumerate(times) if left[index] and time < tag]
        if not ready:
            return seconds
        _, index = min(ready)
        left[index] -= 1
        times[index] += tenants[index].virtual_time_per_job
        seconds += tenants[index].count * PACE.seconds_for(
            tenants[index].waiting.scale(1 / jobs(tenants[index]))
        )


def jobs(each: WaitingTenant) -> float:
    return each.waiting.jobs


@given(tenants=st.lists(waiting_tenants(limited=False), max_size=12), tag=tags)
def test_the_curve_equals_the_plain_sum(tenants: list[WaitingTenant], tag: float) -> None:
    direct = sum(each.seconds_before(tag, PACE) for each in tenants)
    estimated = QueueContention(tenants, virtual_time=0.0, pace=PACE).seconds_before(tag)
    assert estimated == pytest.approx(direct, rel=1e-6, abs=1e-6)


@given(tenants=st.lists(waiting_tenants(limited=False), max_size=12), tag=tags)
def test_the_work_before_a_tag_is_within_half_a_job_of_each_tenant(
    tenants: list[WaitingTenant], tag: float
) -> None:
    whole = [
        WaitingTenant(
            each.virtual_time,
            each.weight,
            each.waiting.scale(round(jobs(each)) / jobs(each)),
            count=each.count,
        )
        for each in tenants
    ]
    allowed = sum(each.count * PACE.seconds_for(each.waiting) / jobs(each) for each in whole) / 2
    estimated = QueueContention(whole, virtual_time=0.0, pace=PACE).seconds_before(tag)
    assert estimated == pytest.approx(served_before(tag, whole), abs=allowed + 1e-6)


@given(tenants=st.lists(waiting_tenants(), min_size=1, max_size=12), tag=tags)
def test_excluding_a_tenant_equals_leaving_it_out(tenants: list[WaitingTenant], tag: float) -> None:
    def estimate(some: list[WaitingTenant], without: WaitingTenant | None = None) -> float:
        contention = QueueContention(some, virtual_time=150.0, pace=PACE, engine_share=0.5)
        return contention.seconds_before(tag, without=without)

    first, *others = tenants
    assert estimate(tenants, first) == pytest.approx(estimate(others), rel=1e-6, abs=1e-6)


def test_tenants_with_the_same_start_tag_have_no_work_before_it() -> None:
    tenants = [WaitingTenant(7.0, 1.0, Workload(3, 30))] * 5
    assert QueueContention(tenants, virtual_time=7.0, pace=PACE).seconds_before(7.0) == 0.0


def test_tenants_are_served_in_proportion_to_their_weights() -> None:
    tenants = [WaitingTenant(0.0, weight, Workload(1000, 10_000)) for weight in (1.0, 2.0, 4.0)]
    one, two, four = (each.seconds_before(1000.0, PACE) for each in tenants)
    assert (two / one, four / one) == pytest.approx((2.0, 4.0), rel=0.01)


def test_a_tenant_at_its_limit_is_served_as_its_limit_allows() -> None:
    held = WaitingTenant(0.0, 1.0, Workload(100, 1000), max_running=2)
    contention = QueueContention([held], virtual_time=500.0, pace=PACE)
    assert contention.has_limited
    assert contention.seconds_before(600.0) == pytest.approx(360.0 + 3.0)  # 60 jobs and a half
    assert contention.seconds_before(600.0, within=10.0) == pytest.approx(20.0)
    assert contention.seconds_before(600.0, within=1e6) == pytest.approx(363.0)
    assert contention.seconds_before(600.0, within=10.0, without=held) == 0.0
    assert contention.seconds_before(600.0, without=held) == 0.0
    crowded = QueueContention([held], virtual_time=500.0, pace=PACE, engine_share=0.25)
    assert crowded.seconds_before(600.0, within=10.0) == pytest.approx(5.0)


def test_a_tenant_with_a_limit_of_zero_is_not_served() -> None:
    held = WaitingTenant(0.0, 1.0, Workload(100, 1000), max_running=0)
    contention = QueueContention([held], virtual_time=500.0, pace=PACE)
    assert contention.seconds_before(600.0, within=10.0) == 0.0
    assert contention.seconds_before(600.0, within=10.0, without=held) == 0.0


def test_a_tenant_within_its_limit_is_served_in_fair_order() -> None:
    contention = QueueContention(
        [WaitingTenant(500.0, 1.0, Workload(100, 1000), max_running=2)],
        virtual_time=500.0,
        pace=PACE,
    )
    assert not contention.has_limited
    assert contention.seconds_before(600.0, within=0.0) > 0


@pytest.mark.parametrize(
    ("backlog", "next_jobs", "waiting"),
    [
        (0.0, Workload(0, 0), None),  # known as ready, and has nothing after all
        (500.0, Workload(2, 30), Workload(2, 30)),  # counted before they were taken
        (0.0, Workload(2, 30), Workload(2, 30)),  # not counted yet
        (0.0, Workload(SAMPLED_JOBS, 40), Workload(SAMPLED_JOBS, 40)),
        (500.0, Workload(SAMPLED_JOBS, 40), Workload(50, 500)),
    ],
)
def test_waiting_work_comes_from_the_counters_and_the_next_jobs(
    backlog: float, next_jobs: Workload, waiting: Workload | None
) -> None:
    made = make_waiting_tenant(3.0, 2.0, backlog, next_jobs, max_running=4)
    assert made == (waiting and WaitingTenant(3.0, 2.0, waiting, 4))


def test_unread_tenants_are_taken_to_be_like_the_read_ones_and_behind_them() -> None:
    read = [WaitingTenant(1.0, 1.0, Workload(2, 20)), WaitingTenant(5.0, 3.0, Workload(4, 60))]
    assert extrapolate_tenants(read, 8) == [WaitingTenant(5.0, 2.0, Workload(3, 40), count=8)]
    assert extrapolate_tenants(read, 0) == []
    assert extrapolate_tenants([], 8) == []
