"""Read jobs for operators: state and timing, without the tenant's prompt, URLs and images."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.postgres.expressions import is_one_of, select_page
from common.postgres.models import Job, Tenant

# Rows one page may read: otherwise a filter that few jobs match would read the whole table.
MAX_ROWS_READ: Final = 100_000


@dataclass(frozen=True, slots=True)
class JobSummary:
    """State and timing of a job, without the prompt, URLs and result that only its tenant sees."""

    id: int
    tenant: str
    queue: str
    state: JobState
    priority: int
    attempt: int
    max_attempts: int
    cost: float
    created_at: datetime
    available_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    claimed_by: str | None
    lease_expires_at: datetime | None
    error_code: str | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Filters for a list of jobs; a filter that is None is not applied."""

    tenant_id: int | None = None
    state: JobState | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs, latest first.

    `next_after` is the job id to pass as `after` for the next page, or None on the last page.
    """

    jobs: list[JobSummary]
    next_after: int | None


_SUMMARY_COLUMNS: Final = (
    Job.id,
    Job.tenant_id,
    Job.queue,
    Job.state,
    Job.priority,
    Job.attempt,
    Job.max_attempts,
    Job.cost,
    Job.created_at,
    Job.available_at,
    Job.started_at,
    Job.finished_at,
    Job.claimed_by,
    Job.lease_expires_at,
    Job.error_code,
)


async def list_jobs(
    connection: AsyncConnection, filters: JobFilter, *, after: int | None, limit: int
) -> JobPage:
    """Return up to `limit` jobs with ids below `after` (None for the first page), latest first.

    At most `MAX_ROWS_READ` rows are read, so a page may be short or empty even if there is a next
    page.
    """
    # Running jobs are few, and have an index of their own.
    end = 0 if filters.state is JobState.RUNNING else await _find_last_id_read(connection, after)
    matching = select_page(
        _select_jobs(filters).where(Job.id >= end), Job.id, after, limit + 1, newest_first=True
    )
    jobs = await _read_summaries(connection, matching)
    if len(jobs) > limit:
        return JobPage(jobs[:limit], jobs[limit - 1].id)
    return JobPage(jobs, end or None)


async def find_job(connection: AsyncConnection, job_id: int) -> JobSummary | None:
    """Return the job with this id, or None if there is none."""
    found = await _read_summaries(connection, select(*_SUMMARY_COLUMNS).where(Job.id == job_id))
    return next(iter(found), None)


async def set_priority(connection: AsyncConnection, job_id: int, priority: int) -> bool:
    """Set the priority of a queued job; return False if the job is not queued."""
    statement = (
        update(Job)
        .where(Job.id == job_id, is_one_of(Job.state, {JobState.QUEUED}))
        .values(priority=priority)
    )
    return (await connection.execute(statement)).rowcount == 1


async def _find_last_id_read(connection: AsyncConnection, after: int | None) -> int:
    """Return the lowest job id that this page may read; 0 if it may read all remaining jobs."""
    rows = select_page(select(Job.id), Job.id, after, 1, newest_first=True)
    end = (await connection.execute(rows.offset(MAX_ROWS_READ - 1))).scalar()
    return end or 0


def _select_jobs(filters: JobFilter) -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(*_SUMMARY_COLUMNS)
    if filters.tenant_id is not None:
        statement = statement.where(Job.tenant_id == filters.tenant_id)
    if filters.queue is not None:
        statement = statement.where(Job.queue == filters.queue)
    if filters.state is not None:
        statement = statement.where(is_one_of(Job.state, {filters.state}))
    return statement


async def _read_summaries(
    connection: AsyncConnection, jobs: Select[*tuple[Any, ...]]
) -> list[JobSummary]:
    selected = jobs.subquery("selected")
    columns = [
        Tenant.name if column is Job.tenant_id else selected.c[column.key]
        for column in _SUMMARY_COLUMNS
    ]
    named = (
        select(*columns)
        .join_from(selected, Tenant, Tenant.id == selected.c.tenant_id)
        .order_by(selected.c.id.desc())
    )
    return [JobSummary(*row) for row in await connection.execute(named)]
