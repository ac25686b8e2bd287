"""When a tenant's jobs start and end under fair claiming, from what is known of its queue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from common.forecast.engines import Engines, RunningJob
from common.forecast.fair_order import QueueContention, WaitingTenant, extrapolated, waiting_tenant
from common.forecast.pace import ASSUMED_PACE, Pace, SpeedSamples, Workload
from common.forecast.slots import Slots
from common.forecast.tenant_queue import TenantBacklog

# Halvings of the time in which limits let others be served: to a part in a thousand.
HALVINGS: Final = 10


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """What was read of a queue across its tenants: numbers alone, nobody's name.

    `contenders` come by least virtual time; `unread_tenants` more are behind the last of them.
    `virtual_time` is the queue's own, `last_job_id` the latest recorded anywhere, `running` each
    job at work. `engine_share` is the part of their time that the engines have
    for this queue, where their workers serve others too.
    """

    contenders: Sequence[WaitingTenant] = ()
    unread_tenants: int = 0
    virtual_time: float = 0.0
    last_job_id: int = 0
    running: Sequence[RunningJob] = ()
    engines: int = 1
    engine_share: float = 1.0
    samples: SpeedSamples = field(default_factory=SpeedSamples)


@dataclass(frozen=True, slots=True)
class TenantPosition:
    """What was read of one tenant's own place in a queue.

    `most_running` is how many of its jobs may be at work in this queue, None without a limit, and
    `running` are those, one by one, told only where there is one. `backlog` is its waiting work as
    counted last.
    """

    line: TenantBacklog
    has_ready: bool = False
    virtual_time: float = 0.0
    weight: float = 1.0
    backlog: float = 0.0
    most_running: int | None = None
    running: Sequence[RunningJob] = ()

    def as_contender(self) -> WaitingTenant | None:
        """Give what the reading of the queue holds of this tenant."""
        if not self.has_ready:
            return None
        return waiting_tenant(
            self.virtual_time,
            self.weight,
            self.backlog,
            self.line.next_jobs,
            most_running=self.most_running,
        )


class Forecast:
    """Looks ahead in one queue; built once for a reading, then asked for any tenant and job."""

    def __init__(self, reading: QueueSnapshot, *, places: int = 1) -> None:
        """`places` are the jobs that a worker takes at once."""
        learnt = Pace.learnt(reading.samples)
        self.is_measured = learnt is not None
        self.has_workers = reading.engines > 0
        self._reading = reading
        self._pace = learnt or ASSUMED_PACE
        unread = extrapolated(reading.contenders, reading.unread_tenants)
        contenders = [*reading.contenders, *unread]
        self._engines = Engines(
            reading.running,
            pace=self._pace,
            count=max(1, reading.engines),
            places=None if contenders else places,
            typical=reading.samples.seconds_each,
        )
        self._contention = QueueContention(
            contenders,
            virtual_time=reading.virtual_time,
            pace=self._pace,
            engine_share=1 / self._engines.company,
        )

    def until_start(self, own: TenantPosition, before: Workload, *, passed: float = 0.0) -> float:
        """Give the seconds until a job starts that has `before` of its own tenant's before it.

        Of the wait, `passed` seconds since the reading are over.
        """
        wait = max(self._until_due(own, before), self._until_room(own, before))
        return max(0.0, wait - passed)

    def until_end(
        self, own: TenantPosition, before: Workload, job: Workload, *, passed: float = 0.0
    ) -> float:
        """Give the seconds until that job has ended."""
        work = self._pace.seconds(job)
        due, by_limit = self._until_due(own, before), self._until_room(own, before)
        start, share = max(due, by_limit), self._reading.engine_share
        drawing = (
            self._engines.drawing(work, waiting=self._contention.whole, start=start * share)
            if start
            else self._engines.drawing_now(work)
        )
        return max(0.0, start - passed) + drawing / share

    def until_drawn(self, job: Workload, seconds: float, *, passed: float = 0.0) -> float:
        """Give the seconds until a job that was claimed `seconds` ago has ended.

        The reading was taken `passed` seconds ago.
        """
        then = max(0.0, seconds - passed)
        drawing = self._engines.drawing_on(job, then, waiting=self._contention.whole)
        if drawing is None:
            drawing, passed = self._engines.drawing_now(self._pace.seconds(job)), seconds
        return max(0.0, drawing / self._reading.engine_share - passed)

    def _until_due(self, own: TenantPosition, before: Workload) -> float:
        """Give the seconds until the tag of the job is the least, and an engine is free."""

        def wait(within: float | None) -> float:
            level = self._engines.wait(self._before(own, before, within))
            return level / self._reading.engine_share

        return _fixed_point(wait, at_most=wait(None)) if self._contention.has_held else wait(None)

    def _before(self, own: TenantPosition, before: Workload, within: float | None) -> float:
        """Give the seconds of work that is taken before a job, others' with a limit `within`."""
        others = self._contention.seconds_before(
            self._tag(own, before.work), within=within, without=self._counted(own)
        )
        return self._pace.seconds(before) + others

    def _until_room(self, own: TenantPosition, before: Workload) -> float:
        """Give the seconds until the tenant's own limit lets the job start."""
        running = sum(each.load.jobs for each in own.running)
        if own.most_running is None or before.jobs + running < own.most_running:
            return 0.0
        slower = self._engines.company / self._reading.engine_share
        places = Slots(
            (self._pace.seconds(each.load) * slower - each.seconds for each in own.running),
            count=max(1, own.most_running),
        )
        typical = self._reading.samples.seconds_each
        wait = places.wait(self._pace.seconds(before) * slower, typical=typical * slower)
        others = self._engines.left + self._contention.whole - self._counted_work(own)
        at_once = max(1, own.most_running)
        return self._engines.without(wait, others=max(0.0, others), at_once=at_once)

    def _counted_work(self, own: TenantPosition) -> float:
        """Give what of the work of all, waiting and running, is this tenant's."""
        waiting = self._counted(own)
        running = (
            max(0.0, self._pace.seconds(each.load) - each.seconds / self._engines.company)
            for each in own.running
        )
        return sum(running) + (self._pace.seconds(waiting.waiting) if waiting else 0.0)

    def _tag(self, own: TenantPosition, work_before: float) -> float:
        start = own.virtual_time
        if not own.has_ready:
            start = max(start, self._reading.virtual_time)
        return start + work_before / own.weight

    def _counted(self, own: TenantPosition) -> WaitingTenant | None:
        """Give the tenant as the reading of the queue counted it, None if it did not."""
        first, reading = own.line.first_id, self._reading
        if first is None or first > reading.last_job_id or not reading.contenders:
            return None  # all it has came later
        if not reading.unread_tenants or own.virtual_time <= reading.contenders[-1].virtual_time:
            return own.as_contender()
        return None


def _fixed_point(wait: Callable[[float], float], *, at_most: float) -> float:
    """Find the time after which as much has been waited for as can be done within it.

    `wait` rises ever more slowly, so there is one.
    """
    soonest = latest = wait(0.0)
    while latest < at_most and wait(latest) > latest:
        soonest, latest = latest, min(2 * latest, at_most)
    for _ in range(HALVINGS if soonest < latest else 0):
        middle = (soonest + latest) / 2
        if wait(middle) > middle:
            soonest = middle
        else:
            latest = middle
    return latest
