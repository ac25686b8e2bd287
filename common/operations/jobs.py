"""Use cases for jobs and queues: list them, cancel a job, change its priority."""

from dataclasses import dataclass
from typing import Final

from common.domain.errors import ConflictError, InvalidValueError, NotFoundError
from common.domain.job import HIGHEST_PRIORITY, LOWEST_PRIORITY, EndedJob, JobState
from common.operations.audit import Change, Operator, audited_change
from common.operations.lookups import require_tenant_id
from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.repositories.fair_queue.queues import QueueRecord, read_queues
from common.postgres.repositories.jobs import overview as job_overview
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.overview import JobFilter, JobSummary

# Shown to the job's tenant.
CANCELED_MESSAGE: Final = "the job was canceled by the operator of this service"


@dataclass(frozen=True, slots=True)
class CanceledJob:
    """A job that was just canceled; pass `ended` to `Announcer.announce_canceled`."""

    job: JobSummary
    ended: EndedJob


async def list_jobs(
    database: Database,
    page: Page,
    *,
    tenant: str | None = None,
    state: JobState | None = None,
    queue: str | None = None,
) -> Listed[JobSummary]:
    """Return a page of jobs, latest first, filtered by tenant, state and queue.

    Each call reads a limited number of jobs, so a page may contain fewer jobs than its limit even
    if there is a next page.

    Raises:
        NotFoundError: the tenant does not exist.
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "jobs")
    async with database.statement() as connection:
        tenant_id = None if tenant is None else await require_tenant_id(connection, tenant)
        found = await job_overview.list_jobs(
            connection,
            JobFilter(tenant_id, state, queue),
            after=position.after,
            limit=position.limit,
        )
    reached = found.next_after
    return Listed(found.jobs, None if reached is None else position.cursor_after(reached))


async def show_job(database: Database, job_id: int) -> JobSummary:
    """Return the summary of one job.

    Raises:
        NotFoundError: the job does not exist.
    """
    async with database.statement() as connection:
        job = await job_overview.find_job(connection, job_id)
    if job is None:
        raise _job_not_found(job_id)
    return job


async def cancel_job(database: Database, operator: Operator, job_id: int) -> CanceledJob:
    """Cancel a queued or running job; the caller must announce it with `Announcer`.

    Raises:
        NotFoundError: the job does not exist.
        ConflictError: the job has ended already.
    """
    async with audited_change(database, operator, "job.cancel") as change:
        job = await _find_job(change, job_id)
        tenant_id = await require_tenant_id(change.connection, job.tenant)
        ended = await cancel(
            change.connection, tenant_id=tenant_id, job_id=job_id, message=CANCELED_MESSAGE
        )
        if ended is None:
            raise ConflictError(f"job {job_id} has ended already")
        change.details = {"before": job.state}
    return CanceledJob(await show_job(database, job_id), ended)


async def set_job_priority(
    database: Database, operator: Operator, job_id: int, priority: int
) -> JobSummary:
    """Set a queued job's priority and return the job.

    Among a tenant's queued jobs, the job with the highest priority is claimed first.

    Raises:
        InvalidValueError: the priority is out of range.
        NotFoundError: the job does not exist.
        ConflictError: the job is not queued.
    """
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise InvalidValueError(
            "priority", f"must be a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}"
        )
    async with audited_change(database, operator, "job.set_priority") as change:
        job = await _find_job(change, job_id)
        if not await job_overview.set_priority(change.connection, job_id, priority):
            job = await _find_job(change, job_id)  # it may have started since
            state = "is running" if job.state is JobState.RUNNING else "has ended"
            raise ConflictError(
                f"job {job_id} {state}: the priority of a job can be changed only while it is "
                "queued"
            )
        change.details = {"priority": priority, "before": job.priority}
    return await show_job(database, job_id)


async def list_queues(database: Database, *, silent_seconds: float) -> Listed[QueueRecord]:
    """Return all queues that have tenants or workers, with their counts.

    Workers without a heartbeat for `silent_seconds` are not counted.
    """
    async with database.statement() as connection:
        return Listed(await read_queues(connection, silent_seconds=silent_seconds))


async def _find_job(change: Change, job_id: int) -> JobSummary:
    """Return the job to change, and add the job and its tenant to the audit entry."""
    job = await job_overview.find_job(change.connection, job_id)
    if job is None:
        raise _job_not_found(job_id)
    change.tenant, change.subject = job.tenant, str(job_id)
    return job


def _job_not_found(job_id: int) -> NotFoundError:
    return NotFoundError(f"there is no job with the id {job_id}")
