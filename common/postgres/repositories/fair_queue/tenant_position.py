"""Read a tenant's position in a queue: its share, and its waiting and running jobs."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import column

from common.forecast.engines import RunningJob
from common.forecast.forecast import TenantPosition
from common.forecast.pace import Workload
from common.forecast.tenant_queue import JobRange, TenantBacklog
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

# Waiting jobs read; the rest of a longer queue is estimated from the backlog that the sweeper
# counted.
MAX_JOBS_READ: Final = 5_000
# The first jobs are read one by one, later ones in ranges whose length grows with the position: a
# range ends where the natural logarithm of the position has grown by 1/32. So a range is about 3 %
# of the jobs before it, and 5,000 jobs make about 200 ranges.
SINGLE_JOBS: Final = 64
RANGES_PER_E_FOLD: Final = 32
# Limits of running jobs are seldom higher; with more running, one of them ends soon anyway.
MAX_RUNNING_READ: Final = 200


async def read_tenant_position(
    connection: Executor, *, tenant_id: int, queue: str
) -> TenantPosition:
    """Return one tenant's position in one queue, read by a single statement."""
    values = {"of_tenant": tenant_id, "of_queue": queue}
    row = (await connection.execute(_READ_TENANT_POSITION, values)).first()
    weight, virtual_time, backlog, has_ready, max_running = row[:5]
    return TenantPosition(
        queued=_to_backlog(row[5:11], backlog),
        has_ready=has_ready,
        virtual_time=virtual_time,
        weight=weight,
        backlog=backlog,
        max_running=max_running,
        running=[
            RunningJob(Workload(1, cost), seconds)
            for cost, seconds in zip(row[11] or (), row[12] or (), strict=True)
        ],
    )


def _to_backlog(row: Sequence[Any], backlog: float) -> TenantBacklog:
    priorities, first_ids, last_ids, jobs, work, last_job_id = row
    ranges = [
        JobRange(priority, first, last, Workload(count, cost))
        for priority, first, last, count, cost in zip(
            priorities or (), first_ids or (), last_ids or (), jobs or (), work or (), strict=True
        )
    ]
    read = sum((each.load for each in ranges), Workload())
    is_longer = read.jobs >= MAX_JOBS_READ and backlog > read.work
    total = read.scale(backlog / read.work) if is_longer else read
    greatest_id = max([last_job_id or 0, *(each.last_id for each in ranges)])
    return TenantBacklog(ranges, total, greatest_id)


_SHARE_COLUMNS: Final = ("weight", "virtual_time", "backlog", "has_ready", "max_running")
_WAITING_COLUMNS: Final = ("priorities", "first_ids", "last_ids", "jobs", "work", "last_job_id")
_RUNNING_COLUMNS: Final = ("running_costs", "running_seconds")
_READ_TENANT_POSITION: Final = load_sql(
    __package__,
    "read_tenant_position.sql",
    columns=[column(name) for name in (*_SHARE_COLUMNS, *_WAITING_COLUMNS, *_RUNNING_COLUMNS)],
    integers={
        "max_jobs_read": MAX_JOBS_READ,
        "single_jobs": SINGLE_JOBS,
        "ranges_per_e_fold": RANGES_PER_E_FOLD,
        "max_running_read": MAX_RUNNING_READ,
    },
)
