"""Starts and ends of jobs in situations small enough to be computed by hand."""

from dataclasses import replace

import pytest

from common.forecast.engines import RunningJob
from common.forecast.fair_order import WaitingTenant
from common.forecast.forecast import Forecast, QueueSnapshot, TenantPosition
from common.forecast.pace import SpeedSamples, Workload
from common.forecast.tenant_queue import JobRange, TenantBacklog

JOB = Workload(1, 10.0)
# Ten seconds for each job of ten megapixel-steps.
SPEED = SpeedSamples(50, 500.0, 500.0, 5000.0, 5000.0)


def snapshot(*waiting_tenants: WaitingTenant, engines: int = 1, **changes: object) -> QueueSnapshot:
    base = QueueSnapshot(
        waiting_tenants=waiting_tenants, engines=engines, last_job_id=1000, samples=SPEED
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def position(jobs: int = 0, first_id: int = 1, **changes: object) -> TenantPosition:
    jobs_ahead = [JobRange(0, first_id + n, first_id + n, JOB) for n in range(jobs)]
    return replace(
        TenantPosition(TenantBacklog(jobs_ahead, None, first_id + jobs), has_ready=jobs > 0),
        **changes,  # type: ignore[arg-type]
    )


def test_without_measurements_a_general_estimate_is_used() -> None:
    forecast = Forecast(QueueSnapshot(engines=0))
    assert not forecast.is_measured
    assert not forecast.has_workers
    assert forecast.seconds_until_end(position(), Workload(), JOB) == 5.0


def test_an_idle_engine_starts_at_once() -> None:
    forecast = Forecast(snapshot())
    assert forecast.is_measured
    assert forecast.has_workers
    assert forecast.seconds_until_start(position(), Workload()) == 0.0
    assert forecast.seconds_until_end(position(), Workload(), JOB) == 10.0


def test_a_job_waits_for_the_earlier_jobs_of_its_tenant() -> None:
    assert Forecast(snapshot()).seconds_until_start(position(3), Workload(3, 30)) == 30.0
    assert Forecast(snapshot(engines=3)).seconds_until_start(
        position(3), Workload(3, 30)
    ) == pytest.approx(20 / 3)


def test_the_backlog_of_another_tenant_does_not_delay_a_newcomer() -> None:
    busy = WaitingTenant(699.0, 1.0, Workload(1e6, 1e7))
    forecast = Forecast(snapshot(busy, virtual_time=690.0, running=[RunningJob(JOB, 4.0)]))
    assert forecast.seconds_until_start(position(), Workload()) == 6.0
    # A second job of its own has to let one job of the busy tenant pass.
    assert forecast.seconds_until_start(position(), JOB) == pytest.approx(6.0 + 10.0 + 10.0)


def test_only_a_tenant_without_work_starts_at_the_queues_virtual_time() -> None:
    busy = WaitingTenant(700.0, 1.0, Workload(100, 1000))
    forecast = Forecast(snapshot(busy, virtual_time=700.0))
    before = Workload(5, 50)
    lifted = forecast.seconds_until_start(position(virtual_time=100.0), before)
    assert lifted == pytest.approx(50 + 50, abs=5)
    assert forecast.seconds_until_start(position(5, virtual_time=100.0), before) == 50.0
    assert forecast.seconds_until_start(position(virtual_time=900.0), Workload()) == pytest.approx(
        200, abs=6
    )


def test_a_tenant_with_a_greater_weight_waits_less() -> None:
    busy = WaitingTenant(0.0, 1.0, Workload(100, 1000))
    waits = [
        Forecast(snapshot(busy)).seconds_until_start(position(weight=weight), Workload(8, 80))
        for weight in (1.0, 2.0, 4.0)
    ]
    assert waits == pytest.approx([160, 120, 100], abs=5)


def test_the_work_of_the_own_tenant_is_not_counted_twice() -> None:
    mine = WaitingTenant(0.0, 1.0, Workload(4, 40))
    busy = WaitingTenant(0.0, 1.0, Workload(100, 1000))
    ours = position(4, backlog=40.0)
    alone = Forecast(snapshot(busy)).seconds_until_start(ours, Workload(3, 30))
    assert Forecast(snapshot(mine, busy)).seconds_until_start(ours, Workload(3, 30)) != alone
    # The snapshot of the queue is older than our jobs.
    assert Forecast(snapshot(busy, last_job_id=0)).seconds_until_start(
        ours, Workload(3, 30)
    ) == pytest.approx(Forecast(snapshot(mine, busy)).seconds_until_start(ours, Workload(3, 30)))


def test_unread_tenants_are_taken_to_be_like_the_read_ones() -> None:
    read = [WaitingTenant(float(number), 1.0, Workload(10, 100)) for number in range(10)]
    more = Forecast(snapshot(*read, unread_tenants=10))
    fewer = Forecast(snapshot(*read))
    deep = Workload(20, 200)
    assert more.seconds_until_start(position(), deep) == pytest.approx(200 + 1000 + 1000)
    assert fewer.seconds_until_start(position(), deep) == pytest.approx(200 + 1000)
    # A tenant behind those that were read is one of the unread ones.
    behind = position(4, virtual_time=50.0, backlog=40.0)
    assert more.seconds_until_start(behind, deep) == pytest.approx(200 + 1000 + 1000)
    within = position(4, virtual_time=0.0, backlog=100.0)
    assert more.seconds_until_start(within, deep) == pytest.approx(200 + 900 + 1000)


def test_engines_shared_with_other_queues_take_longer() -> None:
    forecast = Forecast(snapshot(engine_share=0.5))
    assert forecast.seconds_until_start(position(), Workload(3, 30)) == 60.0
    assert forecast.seconds_until_end(position(), Workload(), JOB) == 20.0
    assert forecast.running_seconds_left(JOB, 5.0) == 15.0


def test_a_tenant_at_its_limit_waits_for_its_own_jobs() -> None:
    forecast = Forecast(snapshot(engines=4, running=[RunningJob(JOB, 3.0)]))
    limited = position(5, max_running=1, running=[RunningJob(JOB, 3.0)])
    assert forecast.seconds_until_start(limited, Workload()) == 7.0
    assert forecast.seconds_until_start(limited, Workload(2, 20)) == 27.0
    assert forecast.seconds_until_end(limited, Workload(2, 20), JOB) == 37.0
    roomy = position(5, max_running=4, running=[RunningJob(JOB, 3.0)])
    assert forecast.seconds_until_start(roomy, Workload(2, 20)) == 0.0


def test_a_job_that_shares_its_engine_takes_longer() -> None:
    forecast = Forecast(snapshot(running=[RunningJob(JOB, 5.0)] * 3))
    assert forecast.seconds_until_start(position(), Workload()) == 25.0
    assert forecast.running_seconds_left(JOB, 5.0) == 25.0
    limited = position(2, max_running=1, running=[RunningJob(JOB, 5.0)])
    assert forecast.seconds_until_start(limited, Workload()) == 25.0
    # By then the others have left.
    assert forecast.seconds_until_end(limited, JOB, JOB) == pytest.approx(25.0 + 10.0 + 10.0)


def test_a_job_that_runs_longer_than_estimated_is_about_to_end() -> None:
    assert Forecast(snapshot()).running_seconds_left(JOB, 99.0) == 0.0
    late = Forecast(snapshot(running=[RunningJob(JOB, 99.0)]))
    assert late.running_seconds_left(JOB, 99.0) == 0.0
    assert late.seconds_until_start(position(), Workload()) == 0.0


def test_a_tenant_at_its_limit_leaves_the_other_engines_to_others() -> None:
    # It is far behind; one engine is its own, three are left for the others.
    held = WaitingTenant(0.0, 1.0, Workload(1000, 10_000), max_running=1)
    running = [RunningJob(JOB, 0.0, number) for number in range(4)]
    forecast = Forecast(snapshot(held, virtual_time=5000.0, engines=4, running=running))
    wait = forecast.seconds_until_start(position(), Workload(30, 300))
    assert wait == pytest.approx(300 / 3, rel=0.12)
    free = replace(held, max_running=None)
    unlimited = Forecast(snapshot(free, virtual_time=5000.0, engines=4, running=running))
    assert unlimited.seconds_until_start(position(), Workload(30, 300)) > 1000


def test_tenants_at_their_limits_with_little_work_soon_finish() -> None:
    held = WaitingTenant(0.0, 1.0, Workload(2, 20), max_running=1)
    forecast = Forecast(snapshot(held, virtual_time=5000.0, engines=2))
    assert forecast.seconds_until_start(position(), Workload(20, 200)) == pytest.approx(
        110, rel=0.05
    )
    assert forecast.seconds_until_start(position(), Workload()) == pytest.approx(0.0, abs=10)


def test_jobs_that_are_not_due_are_not_counted_among_the_waiting() -> None:
    busy = WaitingTenant(0.0, 1.0, Workload(100, 1000))
    later = position(4, has_ready=False)
    assert later.as_waiting_tenant() is None
    assert Forecast(snapshot(busy)).seconds_until_start(later, Workload(4, 40)) == pytest.approx(
        85.0
    )


def test_time_since_the_snapshot_is_subtracted() -> None:
    forecast = Forecast(snapshot(running=[RunningJob(JOB, 4.0)]))
    assert forecast.seconds_until_start(position(), Workload(), elapsed=2.0) == 4.0
    assert forecast.seconds_until_start(position(), Workload(), elapsed=8.0) == 0.0
    assert forecast.seconds_until_end(position(), Workload(), JOB, elapsed=8.0) == 10.0


def at_two_engines(seconds: float = 2.0) -> list[RunningJob]:
    """Return two jobs at one engine and three at another."""
    return [RunningJob(JOB, seconds, engine) for engine in (1, 1, 2, 2, 2)]


def test_with_free_slots_a_job_joins_the_engine_with_the_fewest_others() -> None:
    forecast = Forecast(snapshot(engines=2, running=at_two_engines()), worker_slots=4)
    assert forecast.seconds_until_start(position(), Workload()) == 0.0
    # Nine seconds are left of each of two others.
    assert forecast.seconds_until_end(position(), Workload(), JOB) == pytest.approx(9 + 9 + 10)
    idle = Forecast(snapshot(engines=3, running=at_two_engines()), worker_slots=4)
    assert idle.seconds_until_end(position(), Workload(), JOB) == 10.0


def test_without_free_slots_a_job_waits_for_the_first_to_become_free() -> None:
    forecast = Forecast(snapshot(engines=2, running=at_two_engines(6.0)), worker_slots=2)
    assert forecast.seconds_until_start(position(), Workload()) == pytest.approx(2 * (10 - 6 / 2))


def test_the_end_of_a_running_job_depends_on_jobs_beside_it_and_waiting_jobs() -> None:
    short = RunningJob(Workload(1, 4.0), 6.0, 1)  # two of its four seconds have run
    running = [short, RunningJob(JOB, 6.0, 1), RunningJob(JOB, 6.0, 1)]
    forecast = Forecast(snapshot(running=running))
    assert forecast.running_seconds_left(Workload(1, 4.0), 6.0) == pytest.approx(3 * 2)
    assert forecast.running_seconds_left(JOB, 6.0) == pytest.approx(8 + 8 + 2)
    busy = WaitingTenant(0.0, 1.0, Workload(100, 1000))
    assert Forecast(snapshot(busy, running=running)).running_seconds_left(
        JOB, 6.0
    ) == pytest.approx(3 * 8)


def test_a_job_claimed_since_the_snapshot_is_estimated_as_just_claimed() -> None:
    forecast = Forecast(snapshot(running=[RunningJob(Workload(1, 4.0), 1.0)]), worker_slots=8)
    assert forecast.running_seconds_left(JOB, 1.0, elapsed=2.0) == pytest.approx(10 + 3 - 1)


def test_a_slot_of_a_busy_engine_is_shared_with_the_jobs_that_follow() -> None:
    busy = WaitingTenant(0.0, 1.0, Workload(100, 1000))
    running = [RunningJob(JOB, 15.0)] * 2
    forecast = Forecast(snapshot(busy, virtual_time=1.0, running=running))
    start = forecast.seconds_until_start(position(), Workload())
    assert forecast.seconds_until_end(position(), Workload(), JOB) == pytest.approx(start + 20)
    # Without waiting jobs it is alone once the other has ended.
    last = Forecast(snapshot(running=running))
    assert last.seconds_until_end(position(), Workload(), JOB) == pytest.approx(5 + 10)
