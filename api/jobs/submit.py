"""Submit a job: store its images, record it, wake a worker, and wait for the job to end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from structlog.contextvars import bind_contextvars

from api.auth.api_keys import AuthenticatedTenant
from api.body.receiving.spool import LongValue
from api.errors.api_error import FieldError, InvalidFieldsError
from api.jobs.wait import Wait, follow_job, unfinished_view, wait_for_job
from api.metrics import SUBMIT_SECONDS
from api.services import Services
from common.domain.object_keys import input_key
from common.domain.record import InputImage, NewJob
from common.postgres.repositories.jobs.read import JobView
from common.postgres.repositories.jobs.record import (
    IdempotencyKeyTaken,
    JobRecorded,
    JobRepeated,
    find_earlier_job,
    record_job,
)
from common.runtime.clock import monotonic, utc_now

# The worker finds the format by the image's first bytes.
UNKNOWN_CONTENT_TYPE: Final = "application/octet-stream"

# An image that came with a request: in memory, or in the request's temporary file.
ImageContent = bytes | LongValue


@dataclass(frozen=True, slots=True)
class Uploads:
    """The images that came with a request, by the object key they are to be stored under.

    `release` deletes the request's temporary file, and is called when the images are stored.
    """

    images: Mapping[str, ImageContent]
    release: Callable[[], None]


def input_images(
    images: Mapping[str, str | ImageContent], tenant_id: int, file_prefix: UUID
) -> tuple[dict[str, InputImage], dict[str, ImageContent]]:
    """Return the job's input images by field name, and the content to upload by object key.

    In `images`, each value is either the URL or the content of an image.
    """
    inputs: dict[str, InputImage] = {}
    uploads: dict[str, ImageContent] = {}
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
    wait: Wait,
) -> JobView:
    """Record a job; return it when it ends, the wait times out or the caller disconnects.

    A repeated request with the same idempotency key waits for the job that the first request
    recorded, and stores nothing. `uploads` are stored before the job is recorded.

    Raises:
        OverLimitError: the job would exceed a quota of the tenant's plan.
        InvalidFieldsError: the idempotency key was used before for a different request.
        PostgresUnavailableError: Postgres is known to be unavailable; nothing was stored.
        StorageUnavailableError: an image could not be stored; no job was recorded.
    """
    begun = monotonic()
    services.database.raise_if_unavailable()  # before 40 MB of images are stored for nothing
    earlier = await _find_repeated(services, new_job)
    with services.completions.expect(new_job.file_prefix) as ended:
        outcome = earlier or await _store_and_record(services, tenant, new_job, uploads)
        uploads.release()
        if isinstance(outcome, JobRepeated):
            bind_contextvars(job_id=outcome.job.id)
            return await follow_job(services, outcome.job, wait)
        job = new_job.recorded(outcome.job_id, utc_now())
        bind_contextvars(job_id=job.id)
        services.worker_notifier.ring(job.queue)
        services.eta_estimator.add_accepted(job)
        SUBMIT_SECONDS.observe(monotonic() - begun)
        return await wait_for_job(services, unfinished_view(job), ended, wait)


async def _find_repeated(services: Services, new_job: NewJob) -> JobRepeated | None:
    """Return the job of an earlier request with the same key, so that no image is stored again."""
    if new_job.idempotency_key is None:
        return None
    async with services.database.direct(new_job.tenant_id) as connection:
        earlier = await find_earlier_job(connection, new_job)
    if isinstance(earlier, IdempotencyKeyTaken):
        raise _to_key_error(earlier)
    return earlier


async def _store_and_record(
    services: Services, tenant: AuthenticatedTenant, new_job: NewJob, uploads: Uploads
) -> JobRecorded | JobRepeated:
    with await services.quota_limiter.reserve(tenant, new_job) as reservation:
        for key, image in uploads.images.items():
            data = image.open() if isinstance(image, LongValue) else image
            await services.storage.put(key, data, content_type=UNKNOWN_CONTENT_TYPE)
        async with services.database.direct(new_job.tenant_id) as connection:
            # A request with the same key may have been recorded since the look-up.
            outcome = await record_job(connection, new_job)
        if isinstance(outcome, IdempotencyKeyTaken):
            raise _to_key_error(outcome)
        if isinstance(outcome, JobRecorded):
            reservation.keep()
        return outcome


def _to_key_error(taken: IdempotencyKeyTaken) -> InvalidFieldsError:
    detail = (
        f"This Idempotency-Key was already used for a different request (job {taken.job_id})."
        " Use a new key for each new request."
    )
    return InvalidFieldsError([FieldError(("Idempotency-Key",), detail, "parameter")])
