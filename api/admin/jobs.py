"""Admin routes for jobs and queues."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.admin.dependencies import PREFIX, CurrentOperator, json_body
from api.admin.fields import WholeNumber
from api.body.json_documents import JsonDocument
from api.body.json_response import json_result
from api.body.query_parameters import Id, PageParameters
from api.errors.openapi import document_route
from common.domain.job import HIGHEST_PRIORITY, LOWEST_PRIORITY, JobState
from common.operations import jobs
from common.operations.paging import Listed
from common.postgres.repositories.fair_queue.queues import QueueRecord
from common.postgres.repositories.jobs.overview import JobSummary

router = APIRouter(prefix=PREFIX, tags=["admin: jobs"])


class Priority(JsonDocument):
    """Request body: a job's new priority among its tenant's jobs; the highest is claimed first."""

    priority: WholeNumber = Field(
        json_schema_extra={"minimum": LOWEST_PRIORITY, "maximum": HIGHEST_PRIORITY}
    )


class JobParameters(PageParameters):
    """Query parameters of the job list: paging, and optional filters by tenant, state and queue."""

    tenant: str | None = None
    state: JobState | None = None
    queue: str | None = Field(None, pattern=r"^[^\x00]*$")


@router.get("/queues", response_model=Listed[QueueRecord], **document_route())
async def list_queues(context: CurrentOperator) -> Response:
    """List the queues, each with its workers, running jobs and waiting jobs (up to 10,000)."""
    silent_seconds = context.services.settings.jobs.lease_seconds
    listed = await jobs.list_queues(context.database, silent_seconds=silent_seconds)
    return json_result(listed)


@router.get("/jobs", response_model=Listed[JobSummary], **document_route())
async def list_jobs(context: CurrentOperator, query: Annotated[JobParameters, Query()]) -> Response:
    """List jobs, latest first; a page can be short even if `next_cursor` is set."""
    listed = await jobs.list_jobs(
        context.database, query.page, tenant=query.tenant, state=query.state, queue=query.queue
    )
    return json_result(listed)


@router.get("/jobs/{job_id}", response_model=JobSummary, **document_route())
async def show_job(context: CurrentOperator, job_id: Id) -> Response:
    """Show the state of a job, without the tenant's prompt, URLs or images."""
    return json_result(await jobs.show_job(context.database, job_id))


@router.post("/jobs/{job_id}/cancel", response_model=JobSummary, **document_route(409))
async def cancel_job(context: CurrentOperator, job_id: Id) -> Response:
    """Cancel a queued or running job; its webhook is sent, as for every job that ends."""
    canceled = await jobs.cancel_job(context.database, context.operator, job_id)
    await context.services.announcer.announce_canceled(canceled.ended)
    return json_result(canceled.job)


@router.put(
    "/jobs/{job_id}/priority", response_model=JobSummary, **document_route(409, body=Priority)
)
async def set_job_priority(
    context: CurrentOperator, job_id: Id, change: Annotated[Priority, Depends(json_body(Priority))]
) -> Response:
    """Change the priority of a queued job relative to other jobs of the same tenant."""
    changed = await jobs.set_job_priority(
        context.database, context.operator, job_id, change.priority
    )
    return json_result(changed)
