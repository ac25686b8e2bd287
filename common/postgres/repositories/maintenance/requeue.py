"""Statements of the sweeper: requeue rows with expired leases, count jobs, delete dead workers."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Executable,
    Update,
    column,
    delete,
    func,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.delivery import DeliveryState
from common.domain.job import WORKER_LOST, JobState
from common.postgres.expressions import from_now, is_one_of, literal_int
from common.postgres.models import Delivery, Job, TenantQueue, Worker
from common.postgres.sql_text import load_sql

_UPTIME: Final = select(func.extract("epoch", func.now() - func.pg_postmaster_start_time()))
# The states that are counted, each with the order of its own index, which includes the queue.
_UNFINISHED: Final[dict[JobState, tuple[Any, ...]]] = {
    JobState.QUEUED: (Job.tenant_id, Job.queue, Job.priority.desc(), Job.id),
    JobState.RUNNING: (Job.lease_expires_at,),
}

# Counting a million waiting jobs takes a second, and an exact number is not needed.
MAX_COUNTED: Final = 100_000


async def read_uptime_seconds(connection: AsyncConnection) -> float:
    """Return the uptime of the Postgres server in seconds."""
    return float((await connection.execute(_UPTIME)).scalar_one())


async def requeue_expired(connection: AsyncConnection, *, limit: int) -> int:
    """Requeue up to `limit` jobs whose lease has expired and that have attempts left.

    Return the number of requeued jobs. They become suspects, which run alone in their next attempt
    because they may have killed their worker. The caller must recount the counters of running jobs
    afterwards.
    """
    return (await connection.execute(_requeue_statement(limit))).rowcount


# Statements are composed once, because composing them takes longer than running them.
@cache
def _requeue_statement(limit: int) -> Update:
    expired = _select_expired(Job, JobState.RUNNING, limit, Job.attempt < Job.max_attempts)
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
    """Requeue up to `limit` deliveries whose lease has expired; return how many.

    Such a lease expires if the dispatcher dies while sending. The receiver may already have
    received the webhook, so it is sent again with the same `webhook-id`.
    """
    return (await connection.execute(_requeue_deliveries_statement(limit))).rowcount


@cache
def _requeue_deliveries_statement(limit: int) -> Update:
    expired = _select_expired(Delivery, DeliveryState.SENDING, limit)
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


def _select_expired(
    table: type[Job | Delivery], state: StrEnum, limit: int, *conditions: ColumnElement[bool]
) -> CTE:
    """Select and lock up to `limit` rows in `state` with expired leases, earliest expiry first."""
    return (
        select(table.id)
        .where(is_one_of(table.state, {state}), table.lease_expires_at < func.now(), *conditions)
        .order_by(table.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )


async def count_claimable(
    connection: AsyncConnection, queues: Sequence[str], *, at_most: int
) -> dict[str, int]:
    """Return the number of jobs that can be claimed now, by queue, capped at `at_most` each.

    Queues without claimable jobs are missing from the result.
    """
    rows = await connection.execute(
        _count_claimable_statement(at_most), {"of_queues": list(queues)}
    )
    return {row[0]: row[1] for row in rows}


@cache
def _count_claimable_statement(at_most: int) -> Executable:
    return load_sql(
        __package__,
        "count_claimable.sql",
        columns=(TenantQueue.queue, column("number", BigInteger())),
        integers={"at_most": at_most},
    )


async def delete_silent_workers(connection: AsyncConnection, *, seconds: float) -> None:
    """Delete workers without a heartbeat for more than `seconds`."""
    await connection.execute(delete(Worker).where(Worker.seen_at < from_now(-seconds)))


async def count_jobs(
    connection: AsyncConnection, *, at_most: int = MAX_COUNTED
) -> dict[tuple[str, JobState], int]:
    """Return the numbers of queued and running jobs by queue; up to `at_most` of a state.

    Jobs in final states are not included, because metrics count them as they end.
    """
    rows = await connection.execute(_count_statement(at_most))
    return {(queue, JobState(state)): number for queue, state, number in rows}


@cache
def _count_statement(at_most: int) -> CompoundSelect[Any]:
    # In the order of an index: otherwise the planner may scan the table, hoping to find enough rows
    # soon.
    counted = [
        select(Job.queue, literal(state.value).label("state"))
        .where(is_one_of(Job.state, {state}))
        .order_by(*order)
        .limit(literal_int(at_most))
        .subquery(state.value)
        for state, order in _UNFINISHED.items()
    ]
    return union_all(
        *(
            select(some.c.queue, some.c.state, func.count()).group_by(some.c.queue, some.c.state)
            for some in counted
        )
    )
