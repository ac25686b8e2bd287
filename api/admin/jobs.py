"""Jobs and queues over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.admin.dependencies import CurrentOperator, json_body
from api.body.json_documents import JsonDocument
from api.body.query_parameters import Id, PageParameters
from api.body.rendering import json_result
from api.errors.dialects import ADMIN
from api.errors.openapi import described
from common.domain.job import HIGHEST_PRIORITY, LOWEST_PRIORITY, JobState
from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.operations import jobs, queues
from common.operations.paging import Listed
from common.postgres.repositories.fair_queue.queues import QueueRecord
from common.postgres.repositories.jobs.overview import JobSummary

router = APIRouter(prefix=ADMIN, tags=["admin: jobs"])


class Priority(JsonDocument):
    """The place a job is to have among its tenant's own; the highest goes first."""

    priority: int = Field(
        json_schema_extra={"minimum": LOWEST_PRIORITY, "maximum": HIGHEST_PRIORITY}
    )


class JobParameters(PageParameters):
    """Which jobs are wanted."""

    tenant: str | None = None
    state: JobState | None = None
    queue: str | None = Field(None, pattern=r"^[^\x00]*$")


@router.get("/queues", response_model=Listed[QueueRecord], **described())
async def list_queues(admitted: CurrentOperator) -> Response:
    """List every queue: what waits (counted up to 10,000), what runs, who works."""
    silent_seconds = admitted.services.settings.jobs.lease_seconds
    listed = await queues.list_queues(admitted.database, silent_seconds=silent_seconds)
    return json_result(listed)


@router.get("/jobs", response_model=Listed[JobSummary], **described())
async def list_jobs(
    admitted: CurrentOperator, asked: Annotated[JobParameters, Query()]
) -> Response:
    """List jobs, latest first; of very many, a page may be short while there is a next one."""
    listed = await jobs.list_jobs(
        admitted.database, asked.page, tenant=asked.tenant, state=asked.state, queue=asked.queue
    )
    return json_result(listed)


@router.get("/jobs/{job_id}", response_model=JobSummary, **described())
async def show_job(admitted: CurrentOperator, job_id: Id) -> Response:
    """Show how a job stands, without what was asked for."""
    return json_result(await jobs.show_job(admitted.database, job_id))


@router.post("/jobs/{job_id}/cancel", response_model=JobSummary, **described(409))
async def cancel_job(admitted: CurrentOperator, job_id: Id) -> Response:
    """End a job that has not ended; its webhook tells of it."""
    services = admitted.services
    canceled = await jobs.cancel_job(admitted.database, admitted.operator, job_id)
    doorbell = Doorbell(services.redis, services.settings.redis)
    await Announcer(services.redis, doorbell).announce_canceled(canceled.ended)
    return json_result(canceled.job)


@router.put("/jobs/{job_id}/priority", response_model=JobSummary, **described(409, body=Priority))
async def set_job_priority(
    admitted: CurrentOperator, job_id: Id, wanted: Annotated[Priority, Depends(json_body(Priority))]
) -> Response:
    """Let a queued job be taken before or after its tenant's others."""
    changed = await jobs.set_job_priority(
        admitted.database, admitted.operator, job_id, wanted.priority
    )
    return json_result(changed)
