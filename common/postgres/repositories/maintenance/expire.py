"""Expire jobs: fail those that have no attempts left or were queued for too long."""

from typing import Final

from common.domain.errors import pluralize
from common.domain.job import WORKER_LOST, EndedJob
from common.postgres.repositories.jobs.job_rows import ENDED_JOB_COLUMNS
from common.postgres.sql_text import load_sql
from common.postgres.statements import Executor


async def fail_abandoned(connection: Executor, *, limit: int) -> list[EndedJob]:
    """Fail up to `limit` jobs whose lease has expired and that have no attempts left; return them.

    The caller must recount the counters of running jobs afterwards.
    """
    values = {"at_most": limit, "to_error_code": WORKER_LOST}
    rows = await connection.execute(_FAIL_ABANDONED, values)
    return [EndedJob(*row) for row in rows.all()]


async def fail_overdue(
    connection: Executor, *, max_queue_seconds: float, limit: int
) -> list[EndedJob]:
    """Fail up to `limit` jobs queued for more than `max_queue_seconds`; return these jobs."""
    max_wait = pluralize(f"{max_queue_seconds:g}", "second")
    message = f"the job was still queued after the maximum of {max_wait}"
    values = {
        "max_queue_seconds": max_queue_seconds,
        "at_most": limit,
        "to_error_message": message,
    }
    rows = await connection.execute(_FAIL_OVERDUE, values)
    return [EndedJob(*row) for row in rows.all()]


_FAIL_ABANDONED: Final = load_sql(__package__, "fail_abandoned.sql", columns=ENDED_JOB_COLUMNS)
_FAIL_OVERDUE: Final = load_sql(__package__, "fail_overdue.sql", columns=ENDED_JOB_COLUMNS)
