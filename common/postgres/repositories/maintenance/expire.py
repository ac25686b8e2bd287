"""Failing the jobs that nobody will end: workers died of them, or they waited too long."""

from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Double,
    String,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from common.domain.delivery import Event
from common.domain.errors import pluralize
from common.domain.job import WORKER_LOST, EndedJob, JobState
from common.postgres.models import Job
from common.postgres.repositories.columns import from_now, is_one_of
from common.postgres.repositories.jobs.endings import end, tell
from common.postgres.statements import Executor


async def fail_abandoned(connection: Executor, *, limit: int) -> list[EndedJob]:
    """Fail jobs whose last allowed attempt lost its lease: their workers died each time.

    The counters of running jobs are left to a recount.
    """
    rows = await connection.execute(_FAIL_ABANDONED, {"at_most": limit})
    return [EndedJob(*row) for row in rows.all()]


async def fail_overdue(
    connection: Executor, *, max_queue_seconds: float, limit: int
) -> list[EndedJob]:
    """Fail jobs that still wait, or wait again, so long after they were accepted."""
    limit_told = pluralize(f"{max_queue_seconds:g}", "second")
    message = f"the job waited longer than the limit of {limit_told}"
    values = {"waited_seconds": -max_queue_seconds, "at_most": limit, "to_error_message": message}
    rows = await connection.execute(_FAIL_OVERDUE, values)
    return [EndedJob(*row) for row in rows.all()]


# The statements, put together once: that takes longer than running them.


def _first(column: InstrumentedAttribute[Any], *conditions: ColumnElement[bool]) -> CTE:
    """Choose up to `at_most` jobs, those with the least of `column` first."""
    return (
        select(Job.id)
        .where(*conditions)
        .order_by(column)
        .limit(bindparam("at_most", type_=BigInteger()))
        .with_for_update(skip_locked=True)
        .cte("first")
    )


_ABANDONED = _first(
    Job.lease_expires_at,
    is_one_of(Job.state, {JobState.RUNNING}),
    Job.lease_expires_at < func.now(),
    Job.attempt >= Job.max_attempts,
)
_FAIL_ABANDONED = tell(
    end(
        JobState.FAILED,
        Job.id == _ABANDONED.c.id,
        error_code=WORKER_LOST,
        error_message="the worker stopped answering (attempt " + cast(Job.attempt, String()) + ")",
    ),
    Event.FAILED,
)
_OVERDUE = _first(
    Job.created_at,
    is_one_of(Job.state, {JobState.QUEUED}),
    Job.created_at < from_now(bindparam("waited_seconds", type_=Double())),
)
_FAIL_OVERDUE = tell(
    end(
        JobState.FAILED,
        Job.id == _OVERDUE.c.id,
        error_code="queue_time_exceeded",
        error_message=bindparam("to_error_message"),
    ),
    Event.FAILED,
)
