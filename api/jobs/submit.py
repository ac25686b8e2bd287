"""Submit a job: store its images, record it, wake a worker, and wait for the job to end."""

from collections.abc import Mapping
from uuid import UUID

from structlog.contextvars import bind_contextvars

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_error import FieldError, InvalidFieldsError
from api.jobs.wait import HungUp, follow_job, unfinished_view, wait_for_job
from api.metrics import SUBMIT_SECONDS
from api.services import Services
from common.domain.object_keys import input_key
from common.domain.record import InputImage, NewJob
from common.postgres.repositories.jobs.read import JobView
from common.postgres.repositories.jobs.record import (
    IdempotencyKeyTaken,
    JobRecorded,
    JobRepeated,
    record_job,
)
from common.runtime.clock import monotonic, utc_now

# The worker finds the format by the image's first bytes.
UNKNOWN_CONTENT_TYPE = "application/octet-stream"

# Images that came with a request, by the object key they are to be stored under.
Uploads = dict[str, bytes]


def input_images(
    images: Mapping[str, str | bytes], tenant_id: int, file_prefix: UUID
) -> tuple[dict[str, InputImage], Uploads]:
    """Return the job's input images by field name, and the bytes to upload by object key.

    In `images`, each value is either the URL or the bytes of an image.
    """
    inputs: dict[str, InputImage] = {}
    uploads: Uploads = {}
    for field, image in images.items():
        if isinstance(image, str):
            inputs[field] = InputImage(url=image)
        else:
            key = input_key(tenant_id, file_prefix, field)
            inputs[field] = InputImage(object_key=key)
            uploads[key] = image
    return inputs, uploads


async def submit(
    services: Services,
    tenant: AuthenticatedTenant,
    new_job: NewJob,
    uploads: Uploads,
    hung_up: HungUp,
) -> JobView:
    """Record a job; return it when it ends, the wait times out or the caller disconnects.

    A repeated request with the same idempotency key waits for the job that the first request
    recorded. `uploads` are stored before the job is recorded; `hung_up` returns when the caller
    disconnects.

    Raises:
        OverLimitError: the job would exceed a quota of the tenant's plan.
        InvalidFieldsError: the idempotency key was used before for a different request.
        PostgresUnavailableError: Postgres is known to be unavailable; nothing was stored.
        StorageUnavailableError: an image could not be stored; no job was recorded.
    """
    begun = monotonic()
    services.database.raise_if_unavailable()  # before 40 MB of images are stored for nothing
    with services.completions.expect(new_job.file_prefix) as ended:
        with await services.quota_limiter.reserve(tenant, new_job) as reservation:
            for key, image in uploads.items():
                await services.storage.put(key, image, content_type=UNKNOWN_CONTENT_TYPE)
            outcome = await _record(services, new_job)
            if isinstance(outcome, JobRecorded):
                reservation.keep()
        if isinstance(outcome, JobRepeated):
            bind_contextvars(job_id=outcome.job.id)
            return await follow_job(services, outcome.job, hung_up)
        job = new_job.recorded(outcome.job_id, utc_now())
        bind_contextvars(job_id=job.id)
        services.worker_notifier.ring(job.queue)
        services.eta_estimator.add_accepted(job)
        SUBMIT_SECONDS.observe(monotonic() - begun)
        return await wait_for_job(services, unfinished_view(job), ended, hung_up)


async def _record(services: Services, new_job: NewJob) -> JobRecorded | JobRepeated:
    async with services.database.direct(new_job.tenant_id) as connection:
        outcome = await record_job(connection, new_job)
    if isinstance(outcome, IdempotencyKeyTaken):
        detail = (
            f"This Idempotency-Key was already used for a different request (job {outcome.job_id})."
            " Use a new key for each new request."
        )
        raise InvalidFieldsError([FieldError(("Idempotency-Key",), detail, "parameter")])
    return outcome
