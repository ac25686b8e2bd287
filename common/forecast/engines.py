"""The engines of a queue: each draws the jobs its worker holds together, all at the same rate.

So a job among `company` of them takes `company` times as long as alone, and the place it has at
its worker is like an engine of its own of 1 / `company` the speed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from common.forecast.pace import Pace, Workload
from common.forecast.slots import Slots


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A running job, the seconds since it was claimed, and the number of the engine it is at."""

    load: Workload
    seconds: float
    engine: int = 0


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The same as a reckoning: in whose company it is, and the work that is left of it."""

    job: RunningJob
    company: int
    left: float


class Engines:
    """How long jobs wait for a place at one of them, and how long they are drawn there."""

    def __init__(
        self,
        running: Sequence[RunningJob],
        *,
        pace: Pace,
        count: int,
        places: int | None,
        typical: float,
    ) -> None:
        """`count` engines have `places` each; None where jobs wait, so that all are taken.

        `typical` is the work of a job. Work is in seconds of an engine that has nothing else.
        """
        self._count = count
        self._typical = typical
        self._drawn = _reckoned(running, pace)
        busy = len({each.engine for each in running})
        self._idle = max(0, count - busy)
        self.company = len(running) / busy if busy else 1.0
        full = round(len(running) + self._idle * self.company)
        self._has_room = places is not None and len(running) < count * places
        self._places = Slots((each.left * each.company for each in self._drawn), count=max(1, full))

    @property
    def left(self) -> float:
        """Give the work that is left of the running jobs."""
        return sum(each.left for each in self._drawn)

    def wait(self, work: float) -> float:
        """Give the seconds until a place is free and so much work has been taken.

        What finds room is drawn at once; with work before it, no sooner than that would be alone.
        """
        if self._has_room and not work:
            return 0.0
        return self._places.wait(work * self.company, typical=self._typical * self.company)

    def without(self, seconds: float, *, others: float, at_once: int) -> float:
        """Give the time of jobs, `at_once` at a time, that take so many seconds in company.

        Once the work of the `others` is done they are drawn without it.
        """
        for_others = self._count - at_once / self.company
        if self.company <= 1 or for_others <= 0:
            return seconds
        alone = others / for_others
        return min(seconds, alone + max(0.0, seconds - alone) / self.company)

    def drawing(self, work: float, *, waiting: float, start: float) -> float:
        """Give the seconds a job is drawn that takes a place in `start` seconds.

        Its company is in the midst of its jobs then, and others follow of the work that waits.
        """
        others = self.company - 1
        left = max(0.0, (self.left + waiting) / self._count - start)
        # Of jobs of which some part is left, any as likely: what is drawn beside a short one.
        short = min(work, self._typical)
        spared = (self._typical - short) ** 2 / (2 * self._typical) if self._typical else 0.0
        return work + min(others * work, max(0.0, left - others * spared))

    def drawing_now(self, work: float) -> float:
        """Give the seconds a job is drawn that is claimed now, by the worker with the fewest."""
        if self._idle or not self._drawn:
            return work
        fewest = min(each.company for each in self._drawn)
        beside = [each for each in self._drawn if each.company == fewest]
        return work + fewest * _beside(beside, work)

    def drawing_on(self, job: Workload, seconds: float, *, waiting: float) -> float | None:
        """Give the seconds until a running job is drawn that was claimed `seconds` ago.

        None where no such job was at work.
        """
        own = self._found(job, seconds)
        if own is None:
            return None
        others = [
            each for each in self._drawn if each is not own and each.job.engine == own.job.engine
        ]
        beside = len(others) * _beside(others, own.left)
        return own.left + min(len(others) * own.left, beside + waiting / self._count)

    def _found(self, job: Workload, seconds: float) -> _Drawn | None:
        """Find the running job that is most like this one: none has a name here."""
        alike = [each for each in self._drawn if isclose(each.job.load.work, job.work)]
        return min(alike, key=lambda each: abs(each.job.seconds - seconds), default=None)


def _reckoned(running: Sequence[RunningJob], pace: Pace) -> list[_Drawn]:
    at: dict[int, list[RunningJob]] = {}
    for each in running:
        at.setdefault(each.engine, []).append(each)
    return [
        _Drawn(
            each, len(together), max(0.0, pace.seconds(each.load) - each.seconds / len(together))
        )
        for together in at.values()
        for each in together
    ]


def _beside(others: Sequence[_Drawn], work: float) -> float:
    """Give what is drawn of each of `others`, in the mean, while `work` of a job beside them is."""
    return sum(min(work, each.left) for each in others) / len(others) if others else 0.0
