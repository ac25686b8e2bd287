"""Jobs as an operator sees them: where they stand, and nothing of what was asked for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.domain.job import JobState
from common.postgres.expressions import is_one_of, select_page
from common.postgres.models import Job, Tenant

# One page looks at no more rows than this: a list that few jobs match would read the whole table.
MOST_LOOKED_AT: Final = 100_000


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One job, without prompt, addresses and result: those are its tenant's."""

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
    """Which jobs are meant; None leaves a condition out."""

    tenant_id: int | None = None
    state: JobState | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, latest first; `reached` is how far it was looked, None at the list's end."""

    jobs: list[JobSummary]
    reached: int | None


_JOB: Final = (
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
    connection: AsyncConnection, chosen: JobFilter, *, after: int | None, limit: int
) -> JobPage:
    """Give up to `limit` jobs before the id `after`; of many, a page may be short or empty."""
    # Those that run are few, and have an index of their own.
    end = 0 if chosen.state is JobState.RUNNING else await _end_of_look(connection, after)
    matching = select_page(
        _all(chosen).where(Job.id >= end), Job.id, after, limit + 1, newest_first=True
    )
    jobs = await _read(connection, matching)
    if len(jobs) > limit:
        return JobPage(jobs[:limit], jobs[limit - 1].id)
    return JobPage(jobs, end or None)


async def find_job(connection: AsyncConnection, job_id: int) -> JobSummary | None:
    """Give the job of that id, None if there is none."""
    return next(iter(await _read(connection, select(*_JOB).where(Job.id == job_id))), None)


async def set_priority(connection: AsyncConnection, job_id: int, priority: int) -> bool:
    """Let a queued job be taken earlier or later among its tenant's own; False if none is."""
    statement = (
        update(Job)
        .where(Job.id == job_id, is_one_of(Job.state, {JobState.QUEUED}))
        .values(priority=priority)
    )
    return (await connection.execute(statement)).rowcount == 1


async def _end_of_look(connection: AsyncConnection, after: int | None) -> int:
    """Give the id of the last row to look at, 0 where that is all there is."""
    looked = select_page(select(Job.id), Job.id, after, 1, newest_first=True)
    end = (await connection.execute(looked.offset(MOST_LOOKED_AT - 1))).scalar()
    return end or 0


def _all(chosen: JobFilter) -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = select(*_JOB)
    if chosen.tenant_id is not None:
        statement = statement.where(Job.tenant_id == chosen.tenant_id)
    if chosen.queue is not None:
        statement = statement.where(Job.queue == chosen.queue)
    if chosen.state is not None:
        statement = statement.where(is_one_of(Job.state, {chosen.state}))
    return statement


async def _read(connection: AsyncConnection, jobs: Select[*tuple[Any, ...]]) -> list[JobSummary]:
    chosen = jobs.subquery("chosen")
    columns = [Tenant.name if column is Job.tenant_id else chosen.c[column.key] for column in _JOB]
    named = (
        select(*columns)
        .join_from(chosen, Tenant, Tenant.id == chosen.c.tenant_id)
        .order_by(chosen.c.id.desc())
    )
    return [JobSummary(*row) for row in await connection.execute(named)]
