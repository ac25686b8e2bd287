"""Find what was lost: jobs of dead workers, deliveries of dead dispatchers, unheard rings."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Executable,
    Select,
    Update,
    column,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import DeliveryState
from common.domain.job import WORKER_LOST, JobState
from common.postgres.expressions import from_now, is_one_of, literal_int
from common.postgres.models import Delivery, Job, TenantQueue, Worker
from common.postgres.sql_text import load_sql

_UP: Final = select(func.extract("epoch", func.now() - func.pg_postmaster_start_time()))
# The states that are counted, each in the order of an index of its own.
_UNFINISHED: Final[dict[JobState, tuple[ColumnElement[Any], ...]]] = {
    JobState.QUEUED: (Job.created_at.expression,),
    JobState.RUNNING: (Job.lease_expires_at.expression,),
}

# Counting a million waiting jobs takes a second, and nobody needs to know them to the last one.
MOST_COUNTED: Final = 100_000


async def seconds_up(connection: AsyncConnection) -> float:
    """Return the seconds for which this Postgres has been running."""
    return float((await connection.execute(_UP)).scalar_one())


async def requeue_expired(connection: AsyncConnection, *, limit: int) -> int:
    """Queue again the jobs whose lease ran out and that have attempts left; give their number.

    The counters of running jobs are left to a recount.
    """
    return (await connection.execute(_requeueing(limit))).rowcount


# Statements of every sweep are put together once: that takes longer than running them.
@cache
def _requeueing(limit: int) -> Update:
    expired = _expired(Job, JobState.RUNNING, limit, Job.attempt < Job.max_attempts)
    return (
        update(Job)
        .where(Job.id == expired.c.id)
        .values(
            state=JobState.QUEUED,
            claimed_by=None,
            lease_expires_at=None,
            available_at=func.now(),
            suspect=True,
            error_code=WORKER_LOST,
            error_message="the worker stopped answering",
        )
    )


async def requeue_expired_deliveries(connection: AsyncConnection, *, limit: int) -> int:
    """Make deliveries pending again whose dispatcher died while sending; return their number.

    The receiver may or may not have got the request: it is sent again, under the same id.
    """
    return (await connection.execute(_requeueing_deliveries(limit))).rowcount


@cache
def _requeueing_deliveries(limit: int) -> Update:
    expired = _expired(Delivery, DeliveryState.SENDING, limit)
    return (
        update(Delivery)
        .where(Delivery.id == expired.c.id)
        .values(
            state=DeliveryState.PENDING,
            claimed_by=None,
            lease_expires_at=None,
            available_at=func.now(),
        )
    )


def _expired(
    table: type[Job | Delivery], state: StrEnum, limit: int, *also: ColumnElement[bool]
) -> CTE:
    """Choose the rows in `state` whose lease ran out, the longest lost first."""
    return (
        select(table.id)
        .where(is_one_of(table.state, {state}), table.lease_expires_at < func.now(), *also)
        .order_by(table.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )


async def count_servable(
    connection: AsyncConnection, queues: Sequence[str], *, at_most: int
) -> dict[str, int]:
    """Return how many jobs could be claimed now in each queue that has any, at most `at_most`."""
    rows = await connection.execute(_servable(at_most), {"of_queues": list(queues)})
    return {row[0]: row[1] for row in rows}


@cache
def _servable(at_most: int) -> Executable:
    return load_sql(
        __package__,
        "count_servable.sql",
        columns=(TenantQueue.queue, column("number", BigInteger())),
        integers={"at_most": at_most},
    )


async def delete_silent_workers(connection: AsyncConnection, *, seconds: float) -> None:
    """Delete the workers that have not been seen for `seconds`."""
    await connection.execute(delete(Worker).where(Worker.seen_at < from_now(-seconds)))


async def count_jobs(
    connection: AsyncConnection, *, at_most: int = MOST_COUNTED
) -> dict[JobState, int]:
    """Return the number of unfinished jobs by state, up to `at_most` of each.

    Finished jobs are counted by metrics counters.
    """
    row = (await connection.execute(_counting(at_most))).one()
    return dict(zip(_UNFINISHED, row, strict=True))


@cache
def _counting(at_most: int) -> Select[Any]:
    # In an index's order: else the planner may read through the table, in the hope of meeting
    # so many soon.
    counted = [
        select(Job.id)
        .where(is_one_of(Job.state, {state}))
        .order_by(*order)
        .limit(literal_int(at_most))
        .subquery(state.value)
        for state, order in _UNFINISHED.items()
    ]
    return select(*(select(func.count()).select_from(some).scalar_subquery() for some in counted))
