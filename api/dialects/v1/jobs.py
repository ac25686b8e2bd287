"""A tenant's jobs: how far one is, and not wanting it any more."""

import base64
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Response

from api.body.query_parameters import Id
from api.dialects.v1.dependencies import CurrentTenant, TenantContext
from api.errors.dialects import NATIVE
from api.errors.openapi import described
from common.domain.errors import ConflictError, NotFoundError
from common.domain.job import JobState
from common.domain.record import JobRecord
from common.messaging.announcer import Announcer
from common.messaging.doorbell import Doorbell
from common.messaging.progress import PREVIEW_TYPE
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.read import read_job

TOO_MANY_REQUESTS: Final = 429

router = APIRouter(prefix=f"{NATIVE}/jobs", tags=["jobs"])


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands: `step` of `steps` over all its images, null where nobody has told.

    `preview` is a small picture of what the first image is becoming, as a `data:` URI.
    """

    id: int
    state: JobState
    step: int | None
    steps: int | None
    preview: str | None


@dataclass(frozen=True, slots=True)
class CanceledJob:
    """A job that has just been canceled."""

    id: int
    state: JobState


@router.get("/{job_id}/progress", response_model=Progress, **described(TOO_MANY_REQUESTS))
async def show_progress(admitted: CurrentTenant, job_id: Id) -> Response:
    """Show how far a job is; it is told a few times a second while the job is drawn."""
    job = await _find(admitted, job_id)
    progress = await admitted.services.progress.of_job(job, preview=True)
    if progress is None:
        return admitted.json_result(Progress(job.id, job.state, None, None, None))
    preview = None if progress.preview is None else _data_uri(progress.preview)
    return admitted.json_result(Progress(job.id, job.state, progress.step, progress.steps, preview))


@router.post("/{job_id}/cancel", response_model=CanceledJob, **described(409, TOO_MANY_REQUESTS))
async def cancel_job(admitted: CurrentTenant, job_id: Id) -> Response:
    """End a job that has not ended: a waiting one at once, a running one at its next step.

    Its webhook tells of it, and nothing is charged.
    """
    services, tenant_id = admitted.services, admitted.caller.tenant_id
    async with services.database.direct(tenant_id) as connection:
        ended = await cancel(connection, tenant_id=tenant_id, job_id=job_id)
    if ended is None:
        job = await _find(admitted, job_id)
        raise ConflictError(f"the job has ended already: it is {job.state}")
    doorbell = Doorbell(services.redis, services.settings.redis)
    await Announcer(services.redis, doorbell).announce_canceled(ended)
    return admitted.json_result(CanceledJob(job_id, JobState.CANCELED))


async def _find(admitted: TenantContext, job_id: int) -> JobRecord:
    tenant_id = admitted.caller.tenant_id
    async with admitted.services.database.direct(tenant_id) as connection:
        view = await read_job(connection, tenant_id=tenant_id, job_id=job_id)
    if view is None:
        raise NotFoundError("there is no job with this id")
    return view.job


def _data_uri(preview: bytes) -> str:
    return f"data:{PREVIEW_TYPE};base64,{base64.b64encode(preview).decode()}"
