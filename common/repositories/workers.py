"""Who is at work, how fast it goes, and so how long a caller waits."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    CTE,
    ColumnElement,
    Float,
    Text,
    any_,
    cast,
    delete,
    func,
    literal_column,
    select,
    union,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.models import Job, Worker
from common.repositories.columns import from_now, is_one_of

# Enough to even out one odd job, few enough to follow a change of hardware within minutes.
SPEED_SAMPLE = 50
# Jobs read at either end of a queue; the middle of a longer one is estimated from them. Reading
# a million took more than a second.
ENDS_READ = 5_000


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """What lies ahead of a new job in one queue.

    `waiting` counts queued jobs; `work_ahead` is queued and running work in megapixel-steps;
    both are exact up to twice `ENDS_READ` jobs, and estimated beyond. `workers` have lately said
    they serve the queue; `seconds_per_unit` is the measured time for one megapixel-step, None
    before anything was measured. `first_waiting` and `last_waiting` are the lowest and highest id
    among the queued jobs, None where none waits.
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
    connection: AsyncConnection, queue: str, *, silent_seconds: float, ends_read: int = ENDS_READ
) -> QueueLoad:
    """Measure one queue; a worker silent for longer than `silent_seconds` does not count."""
    waiting = _waiting(queue, ends_read)
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
    between = _between(*row[4:8])
    return QueueLoad(
        waiting=row[0] + round(between),
        work_ahead=row[1] * (1 + between / max(row[0], 1)) + float(row[8]),
        workers=row[9],
        seconds_per_unit=row[10],
        first_waiting=row[2],
        last_waiting=row[3],
    )


def _waiting(queue: str, ends_read: int) -> CTE:
    """Sum up the queued jobs at both ends of the queue, and tell where the ends end."""
    queued = select(Job.id, Job.cost).where(
        Job.queue == queue, is_one_of(Job.state, {JobState.QUEUED})
    )
    most: ColumnElement[int] = literal_column(str(ends_read))  # bound, the planner guesses
    front = queued.order_by(Job.priority.desc(), Job.id).limit(most).cte("front")
    back = queued.order_by(Job.priority, Job.id.desc()).limit(most).cte("back")
    ends = union(select(front), select(back)).subquery("ends")  # a job in both counts once
    return select(
        func.count(),
        func.coalesce(func.sum(ends.c.cost), 0.0),
        func.min(ends.c.id),
        func.max(ends.c.id),
        select(func.max(front.c.id)).scalar_subquery(),
        select(func.min(back.c.id)).scalar_subquery(),
        select(func.max(back.c.id)).scalar_subquery(),
        select(func.count()).select_from(back).scalar_subquery(),
    ).cte("waiting")


def _between(front_end: int | None, back_start: int | None, back_end: int, back: int) -> float:
    """Estimate the jobs between the two ends: as close to each other as those at the back."""
    if front_end is None or back_start is None or back_start <= front_end:
        return 0.0
    return max(0.0, (back_start - front_end) * (back - 1) / (back_end - back_start) - 1)
