"""What goes on in a queue across its tenants, as numbers: no answer here says whose they are."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Float,
    Integer,
    Text,
    any_,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    select,
    true,
)

from common.direct import Executor
from common.domain.fair_order import JOBS_LOOKED_AT, Contender, contender
from common.domain.forecast import AtWork, QueueReading
from common.domain.job import JobState
from common.domain.pace import Load, Samples
from common.models import Job, TenantQueue, TenantShare, Worker
from common.repositories.columns import from_now, is_one_of
from common.repositories.shares import is_ready

# Enough to even out one odd job, few enough to follow a change of hardware within minutes.
SPEED_SAMPLE: Final = 50
# Contenders read one by one; those behind them are counted, and taken to be like these.
CONTENDERS_READ: Final = 1_000


@dataclass(frozen=True, slots=True)
class Totals:
    """What one look at a queue tells; see `QueueReading`. `ready_tenants` may have no work left."""

    ready_tenants: int
    virtual_time: float
    last_job_id: int
    engines: int
    engine_share: float
    samples: Samples


async def read_queue(connection: Executor, queue: str, *, silent_seconds: float) -> QueueReading:
    """Read one queue; a worker silent for longer than `silent_seconds` does not count."""
    totals = await read_totals(connection, queue, silent_seconds=silent_seconds)
    contenders, looked_at = await read_contenders(connection, queue)
    unread = max(0, totals.ready_tenants - looked_at)
    return QueueReading(
        contenders=contenders,
        # Of those known as ready, as many have nothing left as among those that were read.
        unread_tenants=round(unread * len(contenders) / max(1, looked_at)),
        virtual_time=totals.virtual_time,
        last_job_id=totals.last_job_id,
        running=await read_running(connection, queue),
        engines=totals.engines,
        engine_share=totals.engine_share,
        samples=totals.samples,
    )


async def read_totals(connection: Executor, queue: str, *, silent_seconds: float) -> Totals:
    """Count a queue's tenants and engines, and sum up its latest successes."""
    values = {"of_queue": queue, "silent_seconds": -silent_seconds}
    row = (await connection.execute(_TOTALS, values)).first()
    return Totals(row[0], row[1], row[2], row[3], row[4], Samples(*row[5:]))


async def read_contenders(connection: Executor, queue: str) -> tuple[list[Contender], int]:
    """Give the tenants with waiting work, the least served first, and how many were looked at."""
    rows = (await connection.execute(_CONTENDERS, {"of_queue": queue})).all()
    read = (
        contender(row[0], row[1], row[2], Load(row[4], row[5]), most_running=row[3]) for row in rows
    )
    return [each for each in read if each is not None], len(rows)


async def read_running(connection: Executor, queue: str) -> list[AtWork]:
    """Give what each worker has at work of a queue."""
    rows = (await connection.execute(_RUNNING, {"of_queue": queue})).all()
    return [AtWork(Load(row[0], row[1]), row[2]) for row in rows]


# The statements, put together once: that takes longer than running them.

# In a queue, how many of a tenant's jobs may be at work beside those in other queues.
MOST_RUNNING: Final[ColumnElement[int]] = func.least(
    TenantShare.max_running_per_queue,
    TenantShare.max_running - (TenantShare.running - func.coalesce(TenantQueue.running, 0)),
)
_NOTHING: Final[ColumnElement[float]] = literal_column("0", Double())
_OF_QUEUE: Final = bindparam("of_queue", type_=Text())
_READY: Final = (
    TenantShare.tenant_id == TenantQueue.tenant_id,
    TenantQueue.has_ready,
    ~TenantShare.closed,
)


def seconds_since(moment: Any) -> ColumnElement[float]:
    """Give how long ago something was, by the database's clock; 0 where it never was."""
    passed = func.extract("epoch", func.now() - moment)
    return func.coalesce(cast(passed, Double()), _NOTHING)


def _contenders() -> Any:
    # Written into the text: bound, the planner guesses.
    most: ColumnElement[int] = literal_column(str(CONTENDERS_READ), Integer())
    looked_at: ColumnElement[int] = literal_column(str(JOBS_LOOKED_AT), Integer())
    least_served = (
        select(
            TenantQueue.tenant_id,
            TenantQueue.queue,
            TenantQueue.virtual_time,
            TenantShare.weight,
            TenantQueue.backlog,
            MOST_RUNNING.label("most_running"),
        )
        .where(TenantQueue.queue == _OF_QUEUE, *_READY)
        .order_by(TenantQueue.virtual_time)
        .limit(most)
        .cte("least_served")
    )
    their_next = (
        select(Job.cost)
        .where(*is_ready(least_served.c.tenant_id, least_served.c.queue))
        .order_by(Job.priority.desc(), Job.id)
        .limit(looked_at)
        .correlate(least_served)
        .subquery("their_next")
    )
    summed_up = (
        select(
            func.count().label("jobs"),
            func.coalesce(func.sum(their_next.c.cost), _NOTHING).label("work"),
        )
        .select_from(their_next)
        .lateral("summed_up")
    )
    return (
        select(
            least_served.c.virtual_time,
            least_served.c.weight,
            least_served.c.backlog,
            least_served.c.most_running,
            summed_up.c.jobs,
            summed_up.c.work,
        )
        .select_from(least_served.join(summed_up, true()))
        .order_by(least_served.c.virtual_time)
    )


def _totals() -> Any:
    ready_tenants = (
        select(func.count()).where(TenantQueue.queue == _OF_QUEUE, *_READY).scalar_subquery()
    )
    virtual_time = (
        select(func.coalesce(func.max(TenantQueue.start_tag), _NOTHING))
        .where(TenantQueue.queue == _OF_QUEUE)
        .scalar_subquery()
    )
    last_job = select(func.coalesce(func.max(Job.id), 0)).scalar_subquery()
    workers, samples = _workers(), _samples()
    return select(
        ready_tenants, virtual_time, last_job, workers.c.engines, workers.c.share, *samples.c
    ).select_from(workers.join(samples, true()))


def _workers() -> CTE:
    """Count the engines, and the part of their time that other queues with work leave."""
    other = func.unnest(Worker.queues).table_valued("queue").render_derived("other")
    with_work = exists().where(TenantQueue.queue == other.c.queue, *_READY)
    others = (
        select(func.count())
        .select_from(other)
        .where(other.c.queue != _OF_QUEUE, with_work)
        .scalar_subquery()
    )
    share = func.avg(literal_column("1", Double()) / cast(1 + others, Double()))
    return (
        select(
            func.count().label("engines"),
            func.coalesce(share, literal_column("1", Double())).label("share"),
        )
        .where(
            cast(_OF_QUEUE, Text) == any_(Worker.queues),
            Worker.seen_at > from_now(bindparam("silent_seconds", type_=Double())),
        )
        .cte("of_workers")
    )


def _samples() -> CTE:
    sample: ColumnElement[int] = literal_column(str(SPEED_SAMPLE), Integer())
    latest = (
        select(Job.cost, cast(Job.result["generation_seconds"].astext, Float).label("seconds"))
        .where(Job.queue == _OF_QUEUE, is_one_of(Job.state, {JobState.SUCCEEDED}))
        .order_by(Job.finished_at.desc())
        .limit(sample)
        .subquery("latest")
    )
    sums = {
        "cost": latest.c.cost,
        "seconds": latest.c.seconds,
        "cost_squared": latest.c.cost * latest.c.cost,
        "cost_by_seconds": latest.c.cost * latest.c.seconds,
    }
    return select(
        func.count().label("count"),
        *(func.coalesce(func.sum(each), _NOTHING).label(name) for name, each in sums.items()),
    ).cte("samples")


_CONTENDERS: Final = _contenders()
_TOTALS: Final = _totals()
_RUNNING: Final = (
    select(func.count(), func.sum(Job.cost), seconds_since(func.max(Job.started_at)))
    .where(Job.queue == _OF_QUEUE, is_one_of(Job.state, {JobState.RUNNING}))
    .group_by(Job.claimed_by)
)
