"""Read the queues for operators: the numbers of waiting and running jobs, tenants and workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    Select,
    func,
    select,
    true,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.postgres.expressions import from_now, is_one_of, literal_int
from common.postgres.models import Job, TenantQueue, Worker

# Counting a million waiting jobs takes a second, and an exact number is not needed.
MAX_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """Counts of one queue; `waiting` is capped at `MAX_COUNTED`.

    `ready_tenants` is the number of tenants with due jobs, `workers` the number of live workers
    that serve the queue.
    """

    name: str
    waiting: int
    running: int
    ready_tenants: int
    workers: int


async def read_queues(connection: AsyncConnection, *, silent_seconds: float) -> list[QueueRecord]:
    """Return all queues that a tenant has used or a worker serves, sorted by name.

    Workers without a heartbeat for `silent_seconds` are not counted.
    """
    names = list((await connection.execute(_NAMES)).scalars())
    running = await _count_by_queue(connection, _RUNNING)
    ready = await _count_by_queue(connection, _READY)
    workers = await _count_by_queue(connection, _count_workers(silent_seconds))
    return [
        QueueRecord(
            name=name,
            waiting=(await connection.execute(_count_waiting(name))).scalar_one(),
            running=running.get(name, 0),
            ready_tenants=ready.get(name, 0),
            workers=workers.get(name, 0),
        )
        for name in names
    ]


async def _count_by_queue(
    connection: AsyncConnection, statement: Select[str, int]
) -> Mapping[str, int]:
    return {row[0]: row[1] for row in await connection.execute(statement)}


_SERVED: Final = select(func.unnest(Worker.queues).label("queue"), Worker.seen_at).subquery()
_NAMES: Final = union(select(TenantQueue.queue), select(_SERVED.c.queue)).order_by("queue")
_RUNNING: Final = (
    select(Job.queue, func.count())
    .where(is_one_of(Job.state, {JobState.RUNNING}))
    .group_by(Job.queue)
)
_READY: Final = (
    select(TenantQueue.queue, func.count()).where(TenantQueue.has_ready).group_by(TenantQueue.queue)
)


def _count_workers(silent_seconds: float) -> Select[str, int]:
    alive = _SERVED.c.seen_at > from_now(-silent_seconds)
    return select(_SERVED.c.queue, func.count()).where(alive).group_by(_SERVED.c.queue)


def _count_waiting(queue: str, at_most: int = MAX_COUNTED) -> Select[int]:
    limit = literal_int(at_most)
    # Sort by tenant and by the other columns of the index that claims use; without this order, the
    # planner may scan the table.
    queued_jobs = (
        select(Job.id)
        .where(
            Job.tenant_id == TenantQueue.tenant_id,
            Job.queue == TenantQueue.queue,
            is_one_of(Job.state, {JobState.QUEUED}),
        )
        .order_by(Job.priority.desc(), Job.id)
        .limit(limit)
        .lateral("queued_jobs")
    )
    counted = (
        select(queued_jobs.c.id)
        .select_from(TenantQueue)
        .join(queued_jobs, true())
        .where(TenantQueue.queue == queue)
        .limit(limit)
        .subquery("counted")
    )
    return select(func.count()).select_from(counted)
