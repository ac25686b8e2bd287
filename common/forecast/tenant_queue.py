"""The waiting jobs of one tenant in one queue, and how much work is ahead of each."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from common.forecast.fair_order import SAMPLED_JOBS
from common.forecast.pace import Workload


@dataclass(frozen=True, slots=True)
class JobRange:
    """Consecutive jobs of one priority, with ids from `first_id` to `last_id`."""

    priority: int
    first_id: int
    last_id: int
    load: Workload

    def load_before(self, job_id: int) -> Workload:
        """Return the share of the range with smaller ids, interpolated between first and last."""
        share = (job_id - self.first_id) / (self.last_id - self.first_id + 1)
        return self.load.scale(min(1.0, max(0.0, share)))

    def with_job(self, job_id: int, load: Workload) -> "JobRange":
        """Return the range extended by one job."""
        return JobRange(
            self.priority, min(self.first_id, job_id), max(self.last_id, job_id), self.load + load
        )


class TenantBacklog:
    """A tenant's waiting jobs in one queue, in the order they are taken: priority, then id.

    The first jobs are known one by one, the following as `ranges` that grow with the distance. Of
    a backlog too long to be read, the rest up to `total` is known by its amount only.
    `greatest_id` is the greatest id of any waiting job; `first_id` the least id read, None
    without jobs. Jobs accepted after the backlog was read are added one by one.
    """

    def __init__(
        self,
        ranges: Sequence[JobRange] = (),
        total: Workload | None = None,
        greatest_id: int = 0,
    ) -> None:
        self._ranges = ranges
        self._keys = [(-each.priority, each.last_id) for each in ranges]
        self._before = [Workload()]
        for each in ranges:
            self._before.append(self._before[-1] + each.load)
        self._counted = self._before[-1] if total is None else total
        self._greatest_id = greatest_id
        self.first_id = min((each.first_id for each in ranges), default=None)
        self._added: dict[int, JobRange] = {}

    @property
    def total(self) -> Workload:
        """All waiting work."""
        return sum((each.load for each in self._added.values()), self._counted)

    @property
    def next_jobs(self) -> Workload:
        """The first jobs, from which the size of a typical one is taken."""
        count = min(SAMPLED_JOBS, len(self._ranges))
        return self._before[count]

    def load_before(self, priority: int, job_id: int) -> Workload:
        """Return the work that is taken before a job of that priority and id."""
        added = (each for each in self._added.values() if each.priority >= priority)
        return sum(
            (each.load if each.priority > priority else each.load_before(job_id) for each in added),
            self._read_load_before(priority, job_id),
        )

    def add_job(self, priority: int, job_id: int, load: Workload) -> None:
        """Add a job accepted after the backlog was read; one that was read is ignored."""
        if job_id > self._greatest_id:
            known = self._added.get(priority, JobRange(priority, job_id, job_id, Workload()))
            self._added[priority] = known.with_job(job_id, load)

    def _read_load_before(self, priority: int, job_id: int) -> Workload:
        index = bisect_left(self._keys, (-priority, job_id))
        known = self._before[index]
        if index == len(self._ranges):
            return known + self._unread_load_before(priority, job_id)
        within = self._ranges[index]
        return known + within.load_before(job_id) if within.priority == priority else known

    def _unread_load_before(self, priority: int, job_id: int) -> Workload:
        """Return the part of the unread rest ahead of a job, interpolated by its id."""
        read = self._before[-1]
        unread = Workload(
            max(0.0, self._counted.jobs - read.jobs), max(0.0, self._counted.work - read.work)
        )
        last = self._ranges[-1] if self._ranges else None
        if last is None or last.priority != priority:
            return unread
        rest = JobRange(priority, last.last_id, max(last.last_id, self._greatest_id), unread)
        return rest.load_before(job_id)
