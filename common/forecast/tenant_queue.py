"""The waiting jobs of one tenant in one queue, and the amount of work ahead of each."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from common.forecast.fair_order import SAMPLED_JOBS
from common.forecast.pace import Workload


@dataclass(frozen=True, slots=True)
class JobRange:
    """Consecutive waiting jobs of the same priority, with ids from `first_id` to `last_id`."""

    priority: int
    first_id: int
    last_id: int
    load: Workload

    def load_before(self, job_id: int) -> Workload:
        """Return the load of the jobs with ids below `job_id`, interpolated within the range."""
        share = (job_id - self.first_id) / (self.last_id - self.first_id + 1)
        return self.load.scale(min(1.0, max(0.0, share)))

    def with_job(self, job_id: int, load: Workload) -> "JobRange":
        """Return this range extended by one job."""
        return JobRange(
            self.priority, min(self.first_id, job_id), max(self.last_id, job_id), self.load + load
        )


class TenantBacklog:
    """A tenant's waiting jobs in one queue, in the order of claims: by priority, then id.

    The first `ranges` contain one job each, later ranges contain more and more jobs. If the backlog
    was too long to be read completely, `total` is the load of all jobs, including unread ones.
    `greatest_id` is the greatest id of all waiting jobs; `first_id` is the smallest id read, or
    None if there are no jobs. Jobs accepted after the backlog was read are added one by one.
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
        """The total load of all waiting jobs."""
        return sum((each.load for each in self._added.values()), self._counted)

    @property
    def next_jobs(self) -> Workload:
        """The load of the first few jobs, from which the size of a typical job is derived."""
        count = min(SAMPLED_JOBS, len(self._ranges))
        return self._before[count]

    def load_before(self, priority: int, job_id: int) -> Workload:
        """Return the load of the jobs that are claimed before a job with this priority and id."""
        added = (each for each in self._added.values() if each.priority >= priority)
        return sum(
            (each.load if each.priority > priority else each.load_before(job_id) for each in added),
            self._read_load_before(priority, job_id),
        )

    def add_job(self, priority: int, job_id: int, load: Workload) -> None:
        """Add a job accepted after the backlog was read; do nothing if the backlog contains it."""
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
        """Return the load of the unread jobs ahead of a job, interpolated by the job's id."""
        read = self._before[-1]
        unread = Workload(
            max(0.0, self._counted.jobs - read.jobs), max(0.0, self._counted.work - read.work)
        )
        last = self._ranges[-1] if self._ranges else None
        if last is None or last.priority != priority:
            return unread
        rest = JobRange(priority, last.last_id, max(last.last_id, self._greatest_id), unread)
        return rest.load_before(job_id)
