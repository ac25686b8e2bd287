"""How the queues stand, for people: counts of what waits, runs and works."""

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

# Counting a million waiting jobs takes a second, and nobody needs to know them to the last one.
MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """One queue now; `waiting` is counted up to `MOST_COUNTED`.

    `ready_tenants` have jobs whose time has come; `workers` have lately said that they serve it.
    """

    name: str
    waiting: int
    running: int
    ready_tenants: int
    workers: int


async def read_queues(connection: AsyncConnection, *, silent_seconds: float) -> list[QueueRecord]:
    """Give the queues that anybody uses or serves, by name.

    A worker silent for longer than `silent_seconds` does not count.
    """
    names = list((await connection.execute(_NAMES)).scalars())
    running = await _counts(connection, _RUNNING)
    ready = await _counts(connection, _READY)
    workers = await _counts(connection, _workers(silent_seconds))
    return [
        QueueRecord(
            name=name,
            waiting=(await connection.execute(_waiting(name))).scalar_one(),
            running=running.get(name, 0),
            ready_tenants=ready.get(name, 0),
            workers=workers.get(name, 0),
        )
        for name in names
    ]


async def _counts(connection: AsyncConnection, counting: Select[str, int]) -> Mapping[str, int]:
    return {row[0]: row[1] for row in await connection.execute(counting)}


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


def _workers(silent_seconds: float) -> Select[str, int]:
    alive = _SERVED.c.seen_at > from_now(-silent_seconds)
    return select(_SERVED.c.queue, func.count()).where(alive).group_by(_SERVED.c.queue)


def _waiting(queue: str, at_most: int = MOST_COUNTED) -> Select[int]:
    most = literal_int(at_most)
    # Tenant by tenant: what waits is indexed so, for the claims. In the index's order, else the
    # planner may read through the table.
    theirs = (
        select(Job.id)
        .where(
            Job.tenant_id == TenantQueue.tenant_id,
            Job.queue == TenantQueue.queue,
            is_one_of(Job.state, {JobState.QUEUED}),
        )
        .order_by(Job.priority.desc(), Job.id)
        .limit(most)
        .lateral("theirs")
    )
    some = (
        select(theirs.c.id)
        .select_from(TenantQueue)
        .join(theirs, true())
        .where(TenantQueue.queue == queue)
        .limit(most)
        .subquery("some")
    )
    return select(func.count()).select_from(some)
