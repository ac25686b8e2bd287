"""The work ahead of a job in its own tenant's backlog."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.forecast.pace import Workload
from common.forecast.tenant_queue import JobRange, TenantBacklog

# Jobs as (priority, id, cost), in no order.
jobs = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 1000), st.floats(1, 50)),
    max_size=30,
    unique_by=lambda job: job[1],
)


def backlog_of(jobs: list[tuple[int, int, float]]) -> TenantBacklog:
    """Return a backlog whose jobs are all known one by one."""
    order = sorted(jobs, key=lambda job: (-job[0], job[1]))
    greatest = max((job[1] for job in jobs), default=0)
    return TenantBacklog(
        [JobRange(p, i, i, Workload(1, cost)) for p, i, cost in order], None, greatest
    )


@given(jobs=jobs, priority=st.integers(0, 3), job_id=st.integers(1, 1001))
def test_the_load_of_a_fully_read_backlog_is_exact(
    jobs: list[tuple[int, int, float]], priority: int, job_id: int
) -> None:
    before = [cost for p, i, cost in jobs if (-p, i) < (-priority, job_id)]
    load = backlog_of(jobs).load_before(priority, job_id)
    assert load.jobs == len(before)
    assert load.work == pytest.approx(sum(before))


@given(jobs=jobs, added=st.lists(st.integers(0, 3), max_size=10))
def test_an_added_job_is_behind_earlier_jobs_of_its_priority(
    jobs: list[tuple[int, int, float]], added: list[int]
) -> None:
    backlog = backlog_of(jobs)
    for number, priority in enumerate(added):
        backlog.add_job(priority, 2000 + number, Workload(1, 2.0))
    assert backlog.total.jobs == len(jobs) + len(added)
    for priority in range(4):
        earlier = sum(p >= priority for p, _, _ in jobs) + sum(p >= priority for p in added)
        assert backlog.load_before(priority, 3000).jobs == pytest.approx(earlier)


def test_jobs_added_in_turn_are_one_behind_the_other() -> None:
    backlog = TenantBacklog()
    for job_id in (11, 12, 13, 14):
        backlog.add_job(0, job_id, Workload(1, 5.0))
    assert [backlog.load_before(0, job_id).jobs for job_id in (11, 12, 13, 14)] == [0, 1, 2, 3]


def test_a_job_that_the_snapshot_includes_is_not_added() -> None:
    backlog = backlog_of([(0, 5, 1.0), (0, 9, 1.0)])
    backlog.add_job(0, 9, Workload(1, 1.0))
    assert backlog.total == Workload(2, 2.0)


def test_within_a_range_the_position_is_interpolated_by_id() -> None:
    backlog = TenantBacklog(
        [JobRange(0, 1, 1, Workload(1, 4)), JobRange(0, 10, 19, Workload(10, 40))], None, 19
    )
    assert backlog.load_before(0, 10) == Workload(1, 4)
    assert backlog.load_before(0, 15) == Workload(6, 24)
    assert backlog.load_before(0, 5) == Workload(1, 4)
    assert backlog.load_before(1, 15) == Workload(0, 0)
    assert backlog.load_before(0, 20) == Workload(11, 44)


def test_the_unread_end_of_a_backlog_is_estimated_from_its_total() -> None:
    backlog = TenantBacklog([JobRange(0, 1, 100, Workload(100, 400))], Workload(1100, 4400), 1100)
    assert backlog.total == Workload(1100, 4400)
    assert backlog.load_before(0, 100).jobs == pytest.approx(99)
    assert backlog.load_before(0, 600).jobs == pytest.approx(600, rel=0.01)
    assert backlog.load_before(0, 5000) == Workload(1100, 4400)
    assert backlog.load_before(-1, 50) == Workload(
        1100, 4400
    )  # after all of the priority that was read


def test_a_backlog_larger_than_its_counters_is_what_was_read() -> None:
    backlog = TenantBacklog([JobRange(0, 1, 4, Workload(4, 8))], Workload(3, 6), 4)
    assert backlog.load_before(0, 9) == Workload(4, 8)


def test_an_empty_backlog_has_no_load() -> None:
    backlog = TenantBacklog()
    assert (backlog.first_id, backlog.next_jobs, backlog.total) == (None, Workload(), Workload())
    assert backlog.load_before(0, 7) == Workload()


def test_a_backlog_has_its_next_jobs_and_first_id() -> None:
    backlog = backlog_of([(0, 3, 1.0), (5, 8, 2.0), (0, 4, 3.0), (0, 5, 4.0), (0, 6, 5.0)])
    assert backlog.first_id == 3
    assert backlog.next_jobs == Workload(4, 10.0)
