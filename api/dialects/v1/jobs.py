"""Routes for the progress and the cancellation of a tenant's jobs."""

import base64
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Response

from api.body.query_parameters import Id
from api.dialects.v1.dependencies import PREFIX, CurrentTenant, TenantContext
from api.errors.openapi import document_route
from common.domain.errors import ConflictError, NotFoundError
from common.domain.job import JobState
from common.domain.record import JobRecord
from common.messaging.progress import PREVIEW_TYPE
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.read import read_job

TOO_MANY_REQUESTS: Final = 429

router = APIRouter(prefix=f"{PREFIX}/jobs", tags=["jobs"])


@dataclass(frozen=True, slots=True)
class Progress:
    """Response body: `step` out of `steps`, summed over all images of a job; null while unknown.

    `preview` is a small preview of the first image as a `data:` URI.
    """

    id: int
    state: JobState
    step: int | None
    steps: int | None
    preview: str | None


@dataclass(frozen=True, slots=True)
class CanceledJob:
    """Response body: the job that was canceled."""

    id: int
    state: JobState


@router.get("/{job_id}/progress", response_model=Progress, **document_route(TOO_MANY_REQUESTS))
async def show_progress(context: CurrentTenant, job_id: Id) -> Response:
    """Show the progress of a job, which is updated a few times a second while the job runs."""
    job = await _find(context, job_id)
    progress = await context.services.progress_reader.read(job, preview=True)
    if progress is None:
        return context.json_result(Progress(job.id, job.state, None, None, None))
    preview = None if progress.preview is None else _data_uri(progress.preview)
    return context.json_result(Progress(job.id, job.state, progress.step, progress.steps, preview))


@router.post(
    "/{job_id}/cancel", response_model=CanceledJob, **document_route(409, TOO_MANY_REQUESTS)
)
async def cancel_job(context: CurrentTenant, job_id: Id) -> Response:
    """Cancel a job: a queued one at once, a running one at its next diffusion step.

    The job's webhook is sent, and the job is not charged.
    """
    tenant_id = context.tenant_id
    async with context.services.database.direct(tenant_id) as connection:
        ended = await cancel(connection, tenant_id=tenant_id, job_id=job_id)
    if ended is None:
        job = await _find(context, job_id)
        raise ConflictError(f"the job has already ended: its state is {job.state}")
    await context.services.announcer.announce_canceled(ended)
    return context.json_result(CanceledJob(job_id, JobState.CANCELED))


async def _find(context: TenantContext, job_id: int) -> JobRecord:
    tenant_id = context.tenant_id
    async with context.services.database.direct(tenant_id) as connection:
        view = await read_job(connection, tenant_id=tenant_id, job_id=job_id)
    if view is None:
        raise NotFoundError("there is no job with this id")
    return view.job


def _data_uri(preview: bytes) -> str:
    return f"data:{PREVIEW_TYPE};base64,{base64.b64encode(preview).decode()}"
