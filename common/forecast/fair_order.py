"""The work done for other tenants before a given job starts, under start-time fair queueing.

Source: Goyal, Vin and Cheng, "Start-time Fair Queueing", 1996. A tenant's next job starts when no
other tenant has a smaller virtual time; the tenant's virtual time then grows by the job's cost
divided by the tenant's weight. So a job behind `work` of its own tenant has the start tag
virtual_time + work / weight, and each other tenant is served until it has passed that tag, has no
more jobs, or has reached its limit of running jobs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from common.forecast.curve import Breakpoint, PiecewiseLinearSum
from common.forecast.pace import Pace, Workload

# The size of a tenant's typical job is the mean of this many of its next jobs.
SAMPLED_JOBS: Final = 4
# A tenant that has passed a tag has passed it by half a job on average.
MEAN_OVERSHOOT: Final = 0.5


@dataclass(frozen=True, slots=True)
class WaitingTenant:
    """An anonymous tenant with at least one waiting job in a queue.

    `max_running` is the tenant's limit of running jobs, or None. `count` is the number of similar
    tenants that the object represents.
    """

    virtual_time: float
    weight: float
    waiting: Workload
    max_running: int | None = None
    count: int = 1

    @property
    def virtual_time_per_job(self) -> float:
        """How much the tenant's virtual time increases with each job of average size."""
        return self.waiting.work / self.waiting.jobs / self.weight

    def breakpoints(self, pace: Pace) -> Iterator[Breakpoint]:
        """Yield the breakpoints of the function that maps a start tag to the work served before it.

        The work, in seconds, is one job as soon as the start tag exceeds the tenant's virtual time.
        From the second job on, it is as many jobs as fit before the start tag, plus half a job.
        """
        jobs, step = self.waiting.jobs, self.virtual_time_per_job
        each = self.count * pace.seconds_for(self.waiting) / jobs
        yield self.virtual_time, min(1.0, jobs) * each, 0.0
        if jobs > 1:
            yield self.virtual_time + step, min(MEAN_OVERSHOOT, jobs - 1) * each, 0.0
        if jobs > 1 + MEAN_OVERSHOOT:
            yield self.virtual_time + step, 0.0, each / step
            yield self.virtual_time + (jobs - MEAN_OVERSHOOT) * step, 0.0, -each / step

    def seconds_before(self, tag: float, pace: Pace) -> float:
        """Return the work in seconds served before the start tag `tag`, as in `breakpoints`."""
        if tag <= self.virtual_time:
            return 0.0
        steps = (tag - self.virtual_time) / self.virtual_time_per_job
        jobs = min(self.waiting.jobs, 1.0 if steps <= 1 else steps + MEAN_OVERSHOOT)
        return self.count * jobs * pace.seconds_for(self.waiting) / self.waiting.jobs

    def seconds_within_limit(self, seconds: float, pace: Pace, engine_share: float) -> float:
        """Return the work, in seconds of an engine, that is done in `seconds` of wall time.

        The limit of running jobs and the waiting work bound it. `pace` converts jobs to seconds of
        an engine. `engine_share` is the fraction of an engine that one running job gets.
        """
        rate = max(0, self.max_running or 0) * engine_share
        return self.count * min(pace.seconds_for(self.waiting), rate * seconds)


def make_waiting_tenant(
    virtual_time: float,
    weight: float,
    backlog: float,
    next_jobs: Workload,
    *,
    max_running: int | None = None,
) -> WaitingTenant | None:
    """Return a tenant whose waiting work is estimated from `backlog`, or None if it has no jobs.

    `next_jobs` are the tenant's first `SAMPLED_JOBS` jobs. If there are fewer, the tenant has no
    other jobs, and `backlog`, which may be out of date, is ignored.
    """
    if next_jobs.jobs < 1 or next_jobs.work <= 0:
        return None
    waiting = next_jobs
    if next_jobs.jobs >= SAMPLED_JOBS and backlog > next_jobs.work:
        waiting = next_jobs.scale(backlog / next_jobs.work)
    return WaitingTenant(virtual_time, weight, waiting, max_running)


def extrapolate_tenants(known: Sequence[WaitingTenant], unread: int) -> list[WaitingTenant]:
    """Return one object that represents `unread` more tenants, each like the average known tenant.

    Their virtual time is the last known tenant's.
    """
    if not known or unread <= 0:
        return []
    total = sum((each.waiting for each in known), Workload())
    return [
        WaitingTenant(
            virtual_time=known[-1].virtual_time,
            weight=sum(each.weight for each in known) / len(known),
            waiting=total.scale(1 / len(known)),
            count=unread,
        )
    ]


class QueueContention:
    """The work of all waiting tenants of a queue, summed up for one pace.

    A tenant whose virtual time is less than the queue's has been skipped because of its limit of
    running jobs: its work is bounded by that limit, not by its virtual time alone.
    """

    def __init__(
        self,
        tenants: Iterable[WaitingTenant],
        *,
        virtual_time: float,
        pace: Pace,
        engine_share: float = 1.0,
    ) -> None:
        """Sum up the work of all tenants; `engine_share` is the fraction of an engine per job."""
        self._virtual_time = virtual_time
        self._pace = pace
        self._engine_share = engine_share
        free: list[WaitingTenant] = []
        limited: list[WaitingTenant] = []
        for each in tenants:
            (limited if self._is_limited(each) else free).append(each)
        self._free = PiecewiseLinearSum(point for each in free for point in each.breakpoints(pace))
        self._limited = PiecewiseLinearSum(
            point for each in limited for point in each.breakpoints(pace)
        )
        self._limited_in_time = PiecewiseLinearSum(
            point for each in limited for point in self._breakpoints_in_time(each)
        )

    @property
    def has_limited(self) -> bool:
        """Whether any tenant is held back by its limit of running jobs."""
        return bool(self._limited)

    @property
    def total_seconds(self) -> float:
        """The total waiting work, in seconds."""
        return self._free.total + self._limited.total

    def seconds_before(
        self, tag: float, *, within: float | None = None, without: WaitingTenant | None = None
    ) -> float:
        """Return the work in seconds that all tenants except `without` get before start tag `tag`.

        Tenants held back by their limits of running jobs get at most what these limits allow within
        `within` seconds (None: any amount).
        """
        free, limited = self._free.value_at(tag), self._limited.value_at(tag)
        in_time = None if within is None else self._limited_in_time.value_at(within)
        if without is not None and not self._is_limited(without):
            free -= without.seconds_before(tag, self._pace)
        elif without is not None:
            limited -= without.seconds_before(tag, self._pace)
            if in_time is not None and within is not None:
                in_time -= without.seconds_within_limit(within, self._pace, self._engine_share)
        return max(0.0, free) + max(0.0, limited if in_time is None else min(limited, in_time))

    def _is_limited(self, each: WaitingTenant) -> bool:
        return each.max_running is not None and each.virtual_time < self._virtual_time

    def _breakpoints_in_time(self, each: WaitingTenant) -> Iterator[Breakpoint]:
        """Yield the breakpoints of the function that maps a time to the work allowed by then."""
        rate = (each.max_running or 0) * self._engine_share
        if rate > 0:
            yield 0.0, 0.0, each.count * rate
            yield self._pace.seconds_for(each.waiting) / rate, 0.0, -each.count * rate
