"""Who is at work, how fast it goes, and so how long a caller waits."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Float, Text, any_, cast, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.models import Job, Worker
from common.repositories.columns import from_now, is_one_of

# Enough to even out one odd job, few enough to follow a change of hardware within minutes.
SPEED_SAMPLE = 50


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """What lies ahead of a new job in one queue.

    `waiting` counts queued jobs; `work_ahead` is queued and running work in megapixel-steps;
    `workers` have lately said they serve the queue; `seconds_per_unit` is the measured time
    for one megapixel-step, None before anything was measured. `first_waiting` and
    `last_waiting` are the lowest and highest id among the queued jobs, None where none waits.
    """

    waiting: int
    work_ahead: float
    workers: int
    seconds_per_unit: float | None
    first_waiting: int | None = None
    last_waiting: int | None = None


async def say_alive(connection: AsyncConnection, name: str, queues: Sequence[str]) -> None:
    """Note that a worker lives and which queues it serves."""
    fresh = insert(Worker).values(name=name, queues=list(queues))
    await connection.execute(
        fresh.on_conflict_do_update(
            index_elements=[Worker.name],
            set_={"seen_at": func.now(), "queues": fresh.excluded.queues},
        )
    )


async def say_goodbye(connection: AsyncConnection, name: str) -> None:
    """Note that a worker has left."""
    await connection.execute(delete(Worker).where(Worker.name == name))


async def measure_load(
    connection: AsyncConnection, queue: str, *, silent_seconds: float
) -> QueueLoad:
    """Measure one queue; a worker silent for longer than `silent_seconds` does not count."""
    waiting = (
        select(
            func.count(),
            func.coalesce(func.sum(Job.cost), 0.0),
            func.min(Job.id),
            func.max(Job.id),
        )
        .where(Job.queue == queue, is_one_of(Job.state, {JobState.QUEUED}))
        .cte("waiting")
    )
    running = (
        select(func.coalesce(func.sum(Job.cost), 0.0))
        .where(Job.queue == queue, is_one_of(Job.state, {JobState.RUNNING}))
        .scalar_subquery()
    )
    workers = (
        select(func.count())
        .where(cast(queue, Text) == any_(Worker.queues), Worker.seen_at > from_now(-silent_seconds))
        .scalar_subquery()
    )
    latest = (
        select(Job.cost, Job.result["generation_seconds"].astext.label("seconds"))
        .where(Job.queue == queue, is_one_of(Job.state, {JobState.SUCCEEDED}))
        .order_by(Job.finished_at.desc())
        .limit(SPEED_SAMPLE)
        .cte("latest")
    )
    speed = select(
        func.sum(cast(latest.c.seconds, Float)) / func.nullif(func.sum(latest.c.cost), 0)
    ).scalar_subquery()
    row = (await connection.execute(select(waiting, running, workers, speed))).one()
    return QueueLoad(
        waiting=row[0],
        work_ahead=float(row[1]) + float(row[4]),
        workers=row[5],
        seconds_per_unit=row[6],
        first_waiting=row[2],
        last_waiting=row[3],
    )
