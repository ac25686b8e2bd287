"""Forecast of when the jobs of a tenant start and end under fair queueing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from common.forecast.engines import Engines, RunningJob
from common.forecast.fair_order import (
    QueueContention,
    WaitingTenant,
    extrapolate_tenants,
    make_waiting_tenant,
)
from common.forecast.pace import ASSUMED_PACE, Pace, SpeedSamples, StageSeconds, Workload
from common.forecast.slots import Slots
from common.forecast.steps import StepProgress
from common.forecast.tenant_queue import TenantBacklog

# Bisection steps for the time that a wait takes when limits depend on it: one part in a thousand.
BISECTION_STEPS: Final = 10


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The state of a queue across all tenants, without their identities.

    `waiting_tenants` are ordered by virtual time, smallest first; `unread_tenants` is the number of
    further tenants behind them. `virtual_time` is the queue's virtual time; `last_job_id` is the
    greatest job id in all queues. `engine_share` is the fraction of the engines' time that is
    available to this queue; it is less than 1 if their workers serve other queues too.
    """

    waiting_tenants: Sequence[WaitingTenant] = ()
    unread_tenants: int = 0
    virtual_time: float = 0.0
    last_job_id: int = 0
    running: Sequence[RunningJob] = ()
    engines: int = 1
    engine_share: float = 1.0
    samples: SpeedSamples = field(default_factory=SpeedSamples)
    stages: StageSeconds = field(default_factory=StageSeconds)


@dataclass(frozen=True, slots=True)
class TenantPosition:
    """The state of one tenant in a queue: its waiting jobs, its virtual time and its limit.

    `max_running` is the tenant's limit of running jobs in this queue, or None; `running` lists its
    running jobs, and is filled only if there is a limit. `backlog` is the tenant's waiting
    work in megapixel-steps, as last counted.
    """

    queued: TenantBacklog
    has_ready: bool = False
    virtual_time: float = 0.0
    weight: float = 1.0
    backlog: float = 0.0
    max_running: int | None = None
    running: Sequence[RunningJob] = ()

    def as_waiting_tenant(self) -> WaitingTenant | None:
        """Return the tenant as a snapshot would contain it, or None if a snapshot would omit it."""
        if not self.has_ready:
            return None
        return make_waiting_tenant(
            self.virtual_time,
            self.weight,
            self.backlog,
            self.queued.next_jobs,
            max_running=self.max_running,
        )


class Forecast:
    """Start and end times of the jobs of one queue, computed from one snapshot of the queue."""

    def __init__(
        self, snapshot: QueueSnapshot, *, worker_slots: int = 1, assumed: Pace = ASSUMED_PACE
    ) -> None:
        """Prepare the forecast; `worker_slots` is how many jobs one worker runs at once.

        `assumed` is the pace until the queue's first job has succeeded.
        """
        measured = Pace.fit(snapshot.samples)
        self.is_measured = measured is not None
        self.has_workers = snapshot.engines > 0
        self._snapshot = snapshot
        self._pace = measured or assumed
        self._stages = snapshot.stages
        unread = extrapolate_tenants(snapshot.waiting_tenants, snapshot.unread_tenants)
        tenants = [*snapshot.waiting_tenants, *unread]
        self._engines = Engines(
            snapshot.running,
            pace=self._pace,
            count=max(1, snapshot.engines),
            slots_each=None if tenants else worker_slots,
            typical=snapshot.samples.mean_seconds,
        )
        self._contention = QueueContention(
            tenants,
            virtual_time=snapshot.virtual_time,
            pace=self._pace,
            engine_share=1 / self._engines.jobs_each,
        )

    def seconds_until_start(
        self, own: TenantPosition, ahead: Workload, *, elapsed: float = 0.0
    ) -> float:
        """Return the seconds until a waiting job starts.

        `own` is the position of the job's tenant; `ahead` is the workload of the tenant's jobs that
        are claimed before the job; `elapsed` is the age of the snapshot in seconds.
        """
        wait = max(self._seconds_until_served(own, ahead), self._seconds_of_own_limit(own, ahead))
        return max(0.0, wait - elapsed)

    def seconds_until_end(
        self, own: TenantPosition, ahead: Workload, job: Workload, *, elapsed: float = 0.0
    ) -> float:
        """Return the seconds until a waiting job has ended.

        `own`, `ahead` and `elapsed` are as in `seconds_until_start`; `job` is the job's own
        workload.
        """
        work = self._pace.seconds_for(job)
        served, limited = (
            self._seconds_until_served(own, ahead),
            self._seconds_of_own_limit(own, ahead),
        )
        start, share = max(served, limited), self._snapshot.engine_share
        generation = (
            self._engines.generation_seconds_after(
                work, waiting=self._contention.total_seconds, start=start * share
            )
            if start
            else self._engines.generation_seconds_now(work)
        )
        transfers = self._stages.fetch + self._stages.upload
        return max(0.0, start - elapsed) + generation / share + transfers

    def started_seconds_left(self, job: Workload, progress: StepProgress, *, images: int) -> float:
        """Return the seconds until a job of so many images, whose steps are known, has ended."""
        alone = self._pace.seconds_for(job) / progress.steps
        expected = alone * self._engines.jobs_each / self._snapshot.engine_share
        return progress.seconds_left(
            expected, self._stages, images=images, is_measured=self.is_measured
        )

    def unstarted_seconds_left(
        self, job: Workload, seconds: float, *, elapsed: float = 0.0
    ) -> float:
        """Return the remaining seconds of a job that was claimed `seconds` ago and has not begun.

        It may be fetching its images, or waiting for its model or the engine.
        """
        generation = self._pace.seconds_for(job) / self._snapshot.engine_share
        fetch = max(0.0, self._stages.fetch - seconds)
        left = fetch + generation + self._stages.upload
        return max(left, self.running_seconds_left(job, seconds, elapsed=elapsed))

    def running_seconds_left(self, job: Workload, seconds: float, *, elapsed: float = 0.0) -> float:
        """Return the seconds until a running job, claimed `seconds` ago, has ended.

        `elapsed` is the age of the snapshot in seconds. Nothing is known of the job's steps.
        """
        then = max(0.0, seconds - elapsed)
        left = self._engines.running_seconds_left(job, then, waiting=self._contention.total_seconds)
        if left is None:  # claimed since the snapshot
            left = self._engines.generation_seconds_now(self._pace.seconds_for(job))
            elapsed = seconds
        return max(0.0, left / self._snapshot.engine_share - elapsed)

    def _seconds_until_served(self, own: TenantPosition, ahead: Workload) -> float:
        """Return the seconds until the job has the smallest start tag and a slot is free for it."""

        def wait(within: float | None) -> float:
            until_slot = self._engines.seconds_until_slot(self._work_ahead(own, ahead, within))
            return until_slot / self._snapshot.engine_share

        if not self._contention.has_limited:
            return wait(None)
        return _find_fixed_point(wait, at_most=wait(None))

    def _work_ahead(self, own: TenantPosition, ahead: Workload, within: float | None) -> float:
        """Return the work ahead of a job in seconds: `ahead`, plus the other tenants' work.

        Other tenants get at most what their limits of running jobs allow within `within` seconds.
        """
        others = self._contention.seconds_before(
            self._start_tag(own, ahead.work), within=within, without=self._own_waiting_tenant(own)
        )
        return self._pace.seconds_for(ahead) + others

    def _seconds_of_own_limit(self, own: TenantPosition, ahead: Workload) -> float:
        """Return the seconds until the tenant's own limit of running jobs admits the job."""
        running = sum(each.load.jobs for each in own.running)
        if own.max_running is None or ahead.jobs + running < own.max_running:
            return 0.0
        slowdown = self._engines.jobs_each / self._snapshot.engine_share
        at_once = max(1, own.max_running)
        slots = Slots(
            (self._pace.seconds_for(each.load) * slowdown - each.seconds for each in own.running),
            count=at_once,
        )
        wait = slots.seconds_until_free(
            self._pace.seconds_for(ahead) * slowdown,
            typical=self._snapshot.samples.mean_seconds * slowdown,
        )
        others = self._engines.work_left + self._contention.total_seconds - self._own_work(own)
        return self._engines.speed_up_after_others(wait, others=max(0.0, others), at_once=at_once)

    def _own_work(self, own: TenantPosition) -> float:
        """Return this tenant's waiting and running work, in seconds."""
        waiting = self._own_waiting_tenant(own)
        running = (
            max(0.0, self._pace.seconds_for(each.load) - each.seconds / self._engines.jobs_each)
            for each in own.running
        )
        return sum(running) + (self._pace.seconds_for(waiting.waiting) if waiting else 0.0)

    def _start_tag(self, own: TenantPosition, work_ahead: float) -> float:
        start = own.virtual_time
        if not own.has_ready:
            start = max(start, self._snapshot.virtual_time)
        return start + work_ahead / own.weight

    def _own_waiting_tenant(self, own: TenantPosition) -> WaitingTenant | None:
        """Return the entry of this tenant in `waiting_tenants`, or None if it has none."""
        first, snapshot = own.queued.first_id, self._snapshot
        if first is None or first > snapshot.last_job_id or not snapshot.waiting_tenants:
            return None  # all its jobs were recorded after the snapshot
        last = snapshot.waiting_tenants[-1]
        if not snapshot.unread_tenants or own.virtual_time <= last.virtual_time:
            return own.as_waiting_tenant()
        return None


def _find_fixed_point(wait: Callable[[float], float], *, at_most: float) -> float:
    """Return the time t for which wait(t) = t, found by doubling and bisection.

    Such a t exists because `wait` is concave: it grows more and more slowly.
    """
    low = high = wait(0.0)
    while high < at_most and wait(high) > high:
        low, high = high, min(2 * high, at_most)
    for _ in range(BISECTION_STEPS if low < high else 0):
        middle = (low + high) / 2
        if wait(middle) > middle:
            low = middle
        else:
            high = middle
    return high
