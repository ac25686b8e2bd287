"""The engines of a queue, each of which generates all its worker's jobs at the same rate.

A job that shares its engine with others, n in total, takes n times as long as alone: a worker's
slot behaves like an engine of its own at 1/n of the speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from common.forecast.pace import Pace, Workload
from common.forecast.slots import Slots


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A running job: its load, the seconds since its claim, and the number of its engine."""

    load: Workload
    seconds: float
    engine: int = 0


@dataclass(frozen=True, slots=True)
class _Remainder:
    """The estimated rest of a running job.

    `sharing` jobs use its engine, itself included; `left` is in seconds of an engine of its own.
    """

    job: RunningJob
    sharing: int
    left: float


class Engines:
    """Estimates how long jobs wait for a slot at an engine, and how long they run there."""

    def __init__(
        self,
        running: Sequence[RunningJob],
        *,
        pace: Pace,
        count: int,
        slots_each: int | None,
        typical: float,
    ) -> None:
        """Estimate what is left of the running jobs on `count` engines.

        `slots_each` is how many jobs an engine runs at once; None if jobs wait, since then all
        slots are taken. `typical` is the work of a typical job. Work is in seconds of an engine
        used by one job.
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
        """Remaining work of the running jobs."""
        return sum(each.left for each in self._running)

    def seconds_until_slot(self, work: float) -> float:
        """Return the seconds until a slot is free once `work` has been taken.

        With a free slot and no work ahead, a job starts at once.
        """
        if self._has_free_slot and not work:
            return 0.0
        return self._slots.seconds_until_free(
            work * self.jobs_each, typical=self._typical * self.jobs_each
        )

    def speed_up_after_others(self, seconds: float, *, others: float, at_once: int) -> float:
        """Shorten a time computed for shared engines by what is gained when the others finish.

        `seconds` are those of jobs that run `at_once` at a time; `others` is the others' work.
        """
        for_others = self._count - at_once / self.jobs_each
        if self.jobs_each <= 1 or for_others <= 0:
            return seconds
        until_alone = others / for_others
        return min(seconds, until_alone + max(0.0, seconds - until_alone) / self.jobs_each)

    def generation_seconds_after(self, work: float, *, waiting: float, start: float) -> float:
        """Return the seconds a job takes that gets its slot in `start` seconds.

        The jobs beside it are in the middle of their work then; `waiting` work follows them.
        """
        others = self.jobs_each - 1
        left = max(0.0, (self.work_left + waiting) / self._count - start)
        # The rest of a job beside it is anywhere from 0 to a typical job, equally likely. The
        # shared time is limited by that rest: this is what is saved on average.
        short = min(work, self._typical)
        saved = (self._typical - short) ** 2 / (2 * self._typical) if self._typical else 0.0
        return work + min(others * work, max(0.0, left - others * saved))

    def generation_seconds_now(self, work: float) -> float:
        """Return the seconds a job takes that is claimed now, by the worker with the fewest."""
        if self._idle or not self._running:
            return work
        fewest = min(each.sharing for each in self._running)
        beside = [each for each in self._running if each.sharing == fewest]
        return work + fewest * _mean_overlap(beside, work)

    def running_seconds_left(
        self, job: Workload, seconds: float, *, waiting: float
    ) -> float | None:
        """Return the seconds left to a running job that was claimed `seconds` ago.

        None if no such job was running.
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
        """Find the running job most similar to this one: running jobs are anonymous here."""
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
    """Return the mean work done for each of `others` while `work` of a job beside them is done."""
    return sum(min(work, each.left) for each in others) / len(others) if others else 0.0
