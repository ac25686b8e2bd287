"""Model of a queue's engines, each of which serves all jobs of one worker at equal rates.

If n jobs share an engine, each of them takes n times as long as it would alone, so each slot of a
worker behaves like a separate engine with 1/n of the speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from common.forecast.pace import Pace, Workload
from common.forecast.slots import Slots


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A running job: its workload, the seconds since its claim, and the index of its engine."""

    load: Workload
    seconds: float
    engine: int = 0


@dataclass(frozen=True, slots=True)
class _Remainder:
    """The estimated remaining work of a running job.

    `sharing` is the number of jobs on its engine, including itself; `left` is the remaining time in
    seconds if it had the engine to itself.
    """

    job: RunningJob
    sharing: int
    left: float


class Engines:
    """Estimator of how long jobs wait for a free slot, and of how long they run."""

    def __init__(
        self,
        running: Sequence[RunningJob],
        *,
        pace: Pace,
        count: int,
        slots_each: int | None,
        typical: float,
    ) -> None:
        """Estimate the remaining work of the running jobs on `count` engines.

        `slots_each` is how many jobs an engine can run at once, or None if jobs are waiting,
        because then all slots are taken. `typical` is the work of a typical job. Work is measured
        in seconds of an engine that runs a single job.
        """
        self._count = count
        self._typical = typical
        self._running = _estimate_remainders(running, pace)
        busy = len({each.engine for each in running})
        self._idle = max(0, count - busy)
        self.jobs_each = len(running) / busy if busy else 1.0
        full = round(len(running) + self._idle * self.jobs_each)
        self._has_free_slot = slots_each is not None and len(running) < count * slots_each
        self._slots = Slots(
            (each.left * each.sharing for each in self._running), count=max(1, full)
        )

    @property
    def work_left(self) -> float:
        """Total remaining work of the running jobs, in seconds of an engine with a single job."""
        return sum(each.left for each in self._running)

    def seconds_until_slot(self, work: float) -> float:
        """Return the seconds until a slot is free for a job with `work` seconds of work before it.

        If a slot is free and no work is ahead, the job starts at once.
        """
        if self._has_free_slot and not work:
            return 0.0
        return self._slots.seconds_until_free(
            work * self.jobs_each, typical=self._typical * self.jobs_each
        )

    def speed_up_after_others(self, seconds: float, *, others: float, at_once: int) -> float:
        """Shorten `seconds`, because jobs run faster once the other tenants' jobs have finished.

        `seconds` is the time that one tenant's jobs take on shared engines if `at_once` of them run
        at a time; `others` is the work of the other tenants, in seconds.
        """
        for_others = self._count - at_once / self.jobs_each
        if self.jobs_each <= 1 or for_others <= 0:
            return seconds
        until_alone = others / for_others
        return min(seconds, until_alone + max(0.0, seconds - until_alone) / self.jobs_each)

    def generation_seconds_after(self, work: float, *, waiting: float, start: float) -> float:
        """Return the run time in seconds of a job that starts in `start` seconds.

        `work` is the job's own work, `waiting` that of all waiting jobs, both in seconds. The other
        jobs on its engine are assumed to be halfway through, on average, when the job starts.
        """
        others = self.jobs_each - 1
        left = max(0.0, (self.work_left + waiting) / self._count - start)
        # The rest of a job beside it is anywhere from 0 to a typical job, equally likely. The
        # shared time is limited by that rest: this is what is saved on average.
        short = min(work, self._typical)
        saved = (self._typical - short) ** 2 / (2 * self._typical) if self._typical else 0.0
        return work + min(others * work, max(0.0, left - others * saved))

    def generation_seconds_now(self, work: float) -> float:
        """Return the run time in seconds of a job that the least loaded worker claims now."""
        if self._idle or not self._running:
            return work
        fewest = min(each.sharing for each in self._running)
        beside = [each for each in self._running if each.sharing == fewest]
        return work + fewest * _mean_overlap(beside, work)

    def running_seconds_left(
        self, job: Workload, seconds: float, *, waiting: float
    ) -> float | None:
        """Return the seconds that a running job, claimed `seconds` ago, still needs.

        `waiting` is the work of all waiting jobs, in seconds. Return None if no running job in the
        snapshot has the same cost.
        """
        own = self._find(job, seconds)
        if own is None:
            return None
        others = [
            each for each in self._running if each is not own and each.job.engine == own.job.engine
        ]
        beside = len(others) * _mean_overlap(others, own.left)
        return own.left + min(len(others) * own.left, beside + waiting / self._count)

    def _find(self, job: Workload, seconds: float) -> _Remainder | None:
        """Return the running job most similar to this one, or None if none has the same cost.

        Jobs are matched by cost and time since the claim, because the snapshot has no job ids.
        """
        alike = [each for each in self._running if isclose(each.job.load.work, job.work)]
        return min(alike, key=lambda each: abs(each.job.seconds - seconds), default=None)


def _estimate_remainders(running: Sequence[RunningJob], pace: Pace) -> list[_Remainder]:
    at: dict[int, list[RunningJob]] = {}
    for each in running:
        at.setdefault(each.engine, []).append(each)
    return [
        _Remainder(
            each,
            len(together),
            max(0.0, pace.seconds_for(each.load) - each.seconds / len(together)),
        )
        for together in at.values()
        for each in together
    ]


def _mean_overlap(others: Sequence[_Remainder], work: float) -> float:
    """Return the mean work done on each of `others` while a job beside them completes `work`."""
    return sum(min(work, each.left) for each in others) / len(others) if others else 0.0
