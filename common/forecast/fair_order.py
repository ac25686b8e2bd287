"""What the engines do for others before it is a tenant's turn: start-time fair queueing.

After Goyal, Vin and Cheng, "Start-time Fair Queueing", 1996. A tenant's next job starts when no
other tenant has a lesser virtual time; it then rises by the job's cost over the weight. So a job
with `work` of its own tenant's before it has the tag virtual_time + work / weight, and each other
tenant is served until it has passed that tag, has nothing left, or is at its limit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from common.forecast.curve import Bend, PiecewiseLinearSum
from common.forecast.pace import Pace, Workload

# So many of a tenant's next jobs are looked at, for their typical size.
JOBS_LOOKED_AT: Final = 4
# A tenant that has passed a tag has, in the mean, passed it by half a job.
HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class WaitingTenant:
    """Some tenant with waiting work in a queue; which, is not known here.

    `waiting` is that work, of at least one job. `most_running` is how many of its jobs may be at
    work at once, None without a limit. It stands for `many` tenants that are alike.
    """

    virtual_time: float
    weight: float
    waiting: Workload
    most_running: int | None = None
    many: int = 1

    @property
    def virtual_step(self) -> float:
        """Give by how much one job of typical size raises its virtual time."""
        return self.waiting.work / self.waiting.jobs / self.weight

    def bends(self, pace: Pace) -> Iterator[Bend]:
        """Describe the seconds of work it gets before a tag.

        One job at least as soon as the tag is beyond its virtual time; from the second on, those
        that fit and half a one.
        """
        jobs, step = self.waiting.jobs, self.virtual_step
        each = self.many * pace.seconds(self.waiting) / jobs
        yield self.virtual_time, min(1.0, jobs) * each, 0.0
        if jobs > 1:
            yield self.virtual_time + step, min(HALF, jobs - 1) * each, 0.0
        if jobs > 1 + HALF:
            yield self.virtual_time + step, 0.0, each / step
            yield self.virtual_time + (jobs - HALF) * step, 0.0, -each / step

    def seconds_before(self, tag: float, pace: Pace) -> float:
        """Give the seconds of work it gets before `tag`; the sum of its bends, directly."""
        if tag <= self.virtual_time:
            return 0.0
        steps = (tag - self.virtual_time) / self.virtual_step
        jobs = min(self.waiting.jobs, 1.0 if steps <= 1 else steps + HALF)
        return self.many * jobs * pace.seconds(self.waiting) / self.waiting.jobs

    def seconds_within(self, seconds: float, pace: Pace, places: float) -> float:
        """Give the seconds of work its limit lets it get in a time; a job fills so many places."""
        rate = max(0, self.most_running or 0) * places
        return self.many * min(pace.seconds(self.waiting), rate * seconds)


def waiting_tenant(
    virtual_time: float,
    weight: float,
    backlog: float,
    next_jobs: Workload,
    *,
    most_running: int | None = None,
) -> WaitingTenant | None:
    """Make a contender of a tenant's books and its next jobs; None if there are no jobs after all.

    Where there are no more than were looked at, they are all; the backlog was counted earlier.
    """
    if next_jobs.jobs < 1 or next_jobs.work <= 0:
        return None
    waiting = next_jobs
    if next_jobs.jobs >= JOBS_LOOKED_AT and backlog > next_jobs.work:
        waiting = next_jobs.part(backlog / next_jobs.work)
    return WaitingTenant(virtual_time, weight, waiting, most_running)


def extrapolated(known: Sequence[WaitingTenant], many: int) -> list[WaitingTenant]:
    """Give one contender for `many` that were not read: like those read, and behind them all."""
    if not known or many <= 0:
        return []
    count = len(known)
    total = sum((each.waiting for each in known), Workload())
    return [
        WaitingTenant(
            virtual_time=known[-1].virtual_time,
            weight=sum(each.weight for each in known) / count,
            waiting=total.part(1 / count),
            many=many,
        )
    ]


class QueueContention:
    """All contenders of a queue, summed up for a pace.

    A contender with a limit whose virtual time the queue has left behind was passed over for that
    limit: it gets what the limit lets it, not all that its virtual time would give it.
    """

    def __init__(
        self,
        contenders: Iterable[WaitingTenant],
        *,
        virtual_time: float,
        pace: Pace,
        engine_share: float = 1.0,
    ) -> None:
        """`engine_share` is the part of an engine that one job at work has."""
        self._virtual_time = virtual_time
        self._pace = pace
        self._engine_share = engine_share
        free: list[WaitingTenant] = []
        held: list[WaitingTenant] = []
        for each in contenders:
            (held if self._is_held(each) else free).append(each)
        self._free = PiecewiseLinearSum(bend for each in free for bend in each.bends(pace))
        self._held = PiecewiseLinearSum(bend for each in held for bend in each.bends(pace))
        self._held_in_time = PiecewiseLinearSum(
            bend for each in held for bend in self._bends_in_time(each)
        )

    @property
    def has_held(self) -> bool:
        """Whether any contender waits for its own limit."""
        return bool(self._held)

    @property
    def whole(self) -> float:
        """Give the seconds of all their waiting work."""
        return self._free.total + self._held.total

    def seconds_before(
        self, tag: float, *, within: float | None = None, without: WaitingTenant | None = None
    ) -> float:
        """Give the seconds of work the contenders get before `tag`, `without` one of them.

        Those held back by their limits get no more than these let them `within` so many seconds.
        """
        free, held = self._free.at(tag), self._held.at(tag)
        in_time = None if within is None else self._held_in_time.at(within)
        if without is not None and not self._is_held(without):
            free -= without.seconds_before(tag, self._pace)
        elif without is not None:
            held -= without.seconds_before(tag, self._pace)
            if in_time is not None and within is not None:
                in_time -= without.seconds_within(within, self._pace, self._engine_share)
        return max(0.0, free) + max(0.0, held if in_time is None else min(held, in_time))

    def _is_held(self, each: WaitingTenant) -> bool:
        return each.most_running is not None and each.virtual_time < self._virtual_time

    def _bends_in_time(self, each: WaitingTenant) -> Iterator[Bend]:
        rate = (each.most_running or 0) * self._engine_share
        if rate > 0:
            yield 0.0, 0.0, each.many * rate
            yield self._pace.seconds(each.waiting) / rate, 0.0, -each.many * rate
