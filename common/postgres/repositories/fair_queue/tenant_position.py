"""A tenant's position in a queue: its share, its waiting jobs in their order, its running jobs."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import column

from common.forecast.engines import RunningJob
from common.forecast.forecast import TenantPosition
from common.forecast.pace import Workload
from common.forecast.tenant_queue import JobRange, TenantBacklog
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor

# Waiting jobs read; the end of a longer queue is known by the backlog, as the sweeper counted it.
JOBS_READ: Final = 5_000
# The first so many places are read one by one, those behind in stretches of a 32nd of their e-fold:
# each is about 3 % of the way to it, so 5,000 jobs come as some 200 rows.
PLACES_TOLD: Final = 64
STRETCHES_PER_FOLD: Final = 32
# A limit of running jobs is seldom higher; with more at work one of them ends soon anyway.
RUNNING_READ: Final = 200


async def read_tenant_position(
    connection: Executor, *, tenant_id: int, queue: str
) -> TenantPosition:
    """Read one tenant's position in one queue, in one statement."""
    values = {"of_tenant": tenant_id, "of_queue": queue}
    row = (await connection.execute(_TENANT_POSITION, values)).first()
    weight, virtual_time, backlog, has_ready, max_running = row[:5]
    return TenantPosition(
        queued=_line(row[5:11], backlog),
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


def _line(row: Sequence[Any], backlog: float) -> TenantBacklog:
    priorities, first_ids, last_ids, jobs, work, end_of_queue = row
    stretches = [
        JobRange(priority, first, last, Workload(count, cost))
        for priority, first, last, count, cost in zip(
            priorities or (), first_ids or (), last_ids or (), jobs or (), work or (), strict=True
        )
    ]
    read = sum((each.load for each in stretches), Workload())
    more = read.jobs >= JOBS_READ and backlog > read.work
    whole = read.scale(backlog / read.work) if more else read
    greatest_id = max([end_of_queue or 0, *(each.last_id for each in stretches)])
    return TenantBacklog(stretches, whole, greatest_id)


_SHARE: Final = ("weight", "virtual_time", "backlog", "has_ready", "most_running")
_WAITING: Final = ("priorities", "first_ids", "last_ids", "jobs", "work", "end_of_queue")
_RUNNING: Final = ("running_costs", "running_seconds")
_TENANT_POSITION: Final = load_sql(
    __package__,
    "read_tenant_position.sql",
    columns=[column(name) for name in (*_SHARE, *_WAITING, *_RUNNING)],
    integers={
        "jobs_read": JOBS_READ,
        "places_told": PLACES_TOLD,
        "stretches_per_fold": STRETCHES_PER_FOLD,
        "running_read": RUNNING_READ,
    },
)
