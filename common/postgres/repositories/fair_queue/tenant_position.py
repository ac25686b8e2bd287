"""A tenant's own place in a queue: its share, its waiting jobs in their order, its running ones."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.types import NullType

from common.domain.job import JobState
from common.forecast.engines import RunningJob
from common.forecast.forecast import TenantPosition
from common.forecast.pace import Workload
from common.forecast.tenant_queue import JobRange, TenantBacklog
from common.postgres.models import Job, TenantQueue, TenantShare
from common.postgres.repositories.columns import is_one_of
from common.postgres.statements import Executor

# Waiting jobs read; the end of a longer line is known by the backlog, as the sweeper counted it.
JOBS_READ: Final = 5_000
# The first so many places are told one by one, those behind in stretches of a 32nd of their e-fold:
# each is about 3 % of the way to it, so 5,000 jobs come as some 200 rows.
PLACES_TOLD: Final = 64
STRETCHES_PER_FOLD: Final = 32
# A limit of running jobs is seldom higher; with more at work one of them ends soon anyway.
RUNNING_READ: Final = 200


async def read_tenant_position(
    connection: Executor, *, tenant_id: int, queue: str
) -> TenantPosition:
    """Read one tenant's own place in one queue, in one statement."""
    values = {"of_tenant": tenant_id, "of_queue": queue}
    row = (await connection.execute(_OWN_PLACE, values)).first()
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
    priorities, first_ids, last_ids, jobs, work, end_of_line = row
    stretches = [
        JobRange(priority, first, last, Workload(count, cost))
        for priority, first, last, count, cost in zip(
            priorities or (), first_ids or (), last_ids or (), jobs or (), work or (), strict=True
        )
    ]
    read = sum((each.load for each in stretches), Workload())
    more = read.jobs >= JOBS_READ and backlog > read.work
    whole = read.scale(backlog / read.work) if more else read
    greatest_id = max([end_of_line or 0, *(each.last_id for each in stretches)])
    return TenantBacklog(stretches, whole, greatest_id)


# The statement, put together once: that takes longer than running it.

# In a queue, how many of a tenant's jobs may be at work beside those in other queues.
_MOST_RUNNING: Final[ColumnElement[int]] = func.least(
    TenantShare.max_running_per_queue,
    TenantShare.max_running - (TenantShare.running - func.coalesce(TenantQueue.running, 0)),
)
_OF_TENANT: Final = bindparam("of_tenant", type_=BigInteger())
_OF_QUEUE: Final = bindparam("of_queue", type_=Text())
_WAITING: Final = (
    Job.tenant_id == _OF_TENANT,
    Job.queue == _OF_QUEUE,
    is_one_of(Job.state, {JobState.QUEUED}),
)


def _literally(number: float) -> ColumnElement[Any]:
    """Write a number into the text: bound, the planner guesses."""
    return literal_column(str(number), Double() if isinstance(number, float) else Integer())


def _waiting() -> CTE:
    """Read the tenant's waiting jobs, and number them in the order they are taken."""
    order = (Job.priority.desc(), Job.id)
    # Limited before they are numbered: else the whole line is.
    first = (
        select(Job.priority, Job.id, Job.cost)
        .where(*_WAITING)
        .order_by(*order)
        .limit(_literally(JOBS_READ))
        .subquery("first")
    )
    place = func.row_number().over(order_by=(first.c.priority.desc(), first.c.id))
    return select(*first.c, place.label("place")).cte("waiting")


def _stretches(waiting: CTE) -> CTE:
    folds = func.ln(waiting.c.place / _literally(float(PLACES_TOLD)))
    stretch = case(
        (waiting.c.place <= _literally(PLACES_TOLD), waiting.c.place),
        else_=_literally(PLACES_TOLD) + func.ceil(folds * _literally(STRETCHES_PER_FOLD)),
    )
    return (
        select(
            waiting.c.priority,
            func.min(waiting.c.id).label("first_id"),
            func.max(waiting.c.id).label("last_id"),
            func.count().label("jobs"),
            func.sum(waiting.c.cost).label("work"),
            func.min(waiting.c.place).label("place"),
        )
        .group_by(waiting.c.priority, stretch)
        .cte("stretches")
    )


def _seconds_since(moment: Any) -> ColumnElement[float]:
    """Give how long ago something was, by the database's clock; 0 where it never was."""
    passed = func.extract("epoch", func.now() - moment)
    return func.coalesce(cast(passed, Double()), literal_column("0", Double()))


def _own_running() -> CTE:
    return (
        select(Job.cost, _seconds_since(Job.started_at).label("seconds"))
        .where(
            Job.tenant_id == _OF_TENANT,
            Job.queue == _OF_QUEUE,
            is_one_of(Job.state, {JobState.RUNNING}),
        )
        .limit(_literally(RUNNING_READ))
        .cte("own_running")
    )


def _all(column: Any, *order: Any) -> ColumnElement[Any]:
    """Gather a column into an array, the list the driver gives; NULL where there are no rows."""
    gathered = aggregate_order_by(column, *order) if order else column
    return select(func.array_agg(gathered, type_=NullType())).scalar_subquery()


def _own_place() -> Any:
    stretches, running = _stretches(_waiting()), _own_running()
    columns = [stretches.c[name] for name in ("priority", "first_id", "last_id", "jobs", "work")]
    end_of_line = (
        select(Job.id)
        .where(*_WAITING)
        .order_by(Job.priority, Job.id.desc())
        .limit(_literally(1))
        .scalar_subquery()
    )
    limited = TenantShare.max_running.is_not(None) | TenantShare.max_running_per_queue.is_not(None)
    nothing: ColumnElement[float] = literal_column("0", Double())
    asked = select(_OF_TENANT.label("tenant_id"), _OF_QUEUE.label("queue")).cte("asked")
    return (
        select(
            func.coalesce(TenantShare.weight, literal_column("1", Double())),
            func.coalesce(TenantQueue.virtual_time, nothing),
            func.coalesce(TenantQueue.backlog, nothing),
            func.coalesce(TenantQueue.has_ready, literal_column("false")),
            _MOST_RUNNING,
            *(_all(column, stretches.c.place) for column in columns),
            end_of_line,
            case((limited, _all(running.c.cost))),
            case((limited, _all(running.c.seconds))),
        )
        .select_from(asked)
        .outerjoin(TenantShare, TenantShare.tenant_id == asked.c.tenant_id)
        .outerjoin(
            TenantQueue,
            and_(TenantQueue.tenant_id == asked.c.tenant_id, TenantQueue.queue == asked.c.queue),
        )
    )


_OWN_PLACE: Final = _own_place()
