"""Where a job stands among those of its own tenant."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from common.forecast.fair_order import JOBS_LOOKED_AT
from common.forecast.pace import Workload


@dataclass(frozen=True, slots=True)
class JobRange:
    """Jobs of one priority that are taken one after the other; ids from the first to the last."""

    priority: int
    first_id: int
    last_id: int
    load: Workload

    def before(self, job_id: int) -> Workload:
        """Give its jobs before that id, which stands for the place between first and last."""
        share = (job_id - self.first_id) / (self.last_id - self.first_id + 1)
        return self.load.part(min(1.0, max(0.0, share)))

    def and_also(self, job_id: int, load: Workload) -> "JobRange":
        """Give the same with one job more."""
        return JobRange(
            self.priority, min(self.first_id, job_id), max(self.last_id, job_id), self.load + load
        )


class TenantBacklog:
    """A tenant's waiting jobs in one queue, in the order they are taken: priority, then id.

    The first of them are known one by one, then in `stretches` that grow with the distance; of a
    long line the end, up to `whole`, is known by its amount alone. `greatest_id` is that of any
    waiting job, `first_id` the least of those that were read, None if there are none. Jobs
    accepted after the reading are added one by one.
    """

    def __init__(
        self,
        stretches: Sequence[JobRange] = (),
        whole: Workload | None = None,
        greatest_id: int = 0,
    ) -> None:
        self._stretches = stretches
        self._keys = [(-each.priority, each.last_id) for each in stretches]
        self._before = [Workload()]
        for each in stretches:
            self._before.append(self._before[-1] + each.load)
        self._read = self._before[-1] if whole is None else whole
        self._greatest_id = greatest_id
        self.first_id = min((each.first_id for each in stretches), default=None)
        self._added: dict[int, JobRange] = {}

    @property
    def whole(self) -> Workload:
        """Give all that waits."""
        return sum((each.load for each in self._added.values()), self._read)

    @property
    def next_jobs(self) -> Workload:
        """Give the jobs that are looked at for their typical size."""
        count = min(JOBS_LOOKED_AT, len(self._stretches))
        return self._before[count]

    def before(self, priority: int, job_id: int) -> Workload:
        """Give the jobs taken before one of that priority and id."""
        added = (each for each in self._added.values() if each.priority >= priority)
        return sum(
            (each.load if each.priority > priority else each.before(job_id) for each in added),
            self._read_before(priority, job_id),
        )

    def add(self, priority: int, job_id: int, load: Workload) -> None:
        """Add a job accepted after the reading, which has not seen it."""
        if job_id > self._greatest_id:
            known = self._added.get(priority, JobRange(priority, job_id, job_id, Workload()))
            self._added[priority] = known.and_also(job_id, load)

    def _read_before(self, priority: int, job_id: int) -> Workload:
        index = bisect_left(self._keys, (-priority, job_id))
        known = self._before[index]
        if index == len(self._stretches):
            return known + self._unread_before(priority, job_id)
        within = self._stretches[index]
        return known + within.before(job_id) if within.priority == priority else known

    def _unread_before(self, priority: int, job_id: int) -> Workload:
        """Give the part of the unread end before a job: by its id, for want of better."""
        read = self._before[-1]
        unread = Workload(
            max(0.0, self._read.jobs - read.jobs), max(0.0, self._read.work - read.work)
        )
        last = self._stretches[-1] if self._stretches else None
        if last is None or last.priority != priority:
            return unread
        end = JobRange(priority, last.last_id, max(last.last_id, self._greatest_id), unread)
        return end.before(job_id)
