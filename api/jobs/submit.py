"""Taking an order: pictures to the store, the job into the books, a ring, and the wait."""

from uuid import UUID, uuid4

from structlog.contextvars import bind_contextvars

from api.auth.api_keys import AuthenticatedTenant
from api.errors.api_error import FieldError, InvalidFieldsError
from api.jobs.new_request import JobRequest
from api.jobs.wait import HungUp, follow_job, wait_for_job
from api.metrics import SUBMIT_SECONDS
from api.services import Services
from common.domain.job import JobState
from common.domain.object_keys import input_key
from common.domain.record import InputImage, JobRecord, NewJob
from common.postgres.repositories.jobs.read import JobView
from common.postgres.repositories.jobs.record import (
    IdempotencyKeyTaken,
    JobRecorded,
    JobRepeated,
    record_job,
)
from common.runtime.clock import monotonic, utc_now

# The store keeps it for the worker, who sniffs what it is.
UNKNOWN_CONTENT = "application/octet-stream"


async def submit(
    services: Services, caller: AuthenticatedTenant, order: JobRequest, hung_up: HungUp
) -> JobView:
    """Record the job and wait for its end as long as callers are made to wait.

    An order repeated under its idempotency key waits for the job it made the first time.

    Raises:
        OverLimitError: the tenant's plan has no room for the job.
        InvalidFieldsError: the idempotency key was used for another request.
        PostgresUnavailableError: Postgres is known to be away; nothing was stored.
        StorageUnavailableError: a picture could not be stored; nothing was recorded.
    """
    begun = monotonic()
    services.database.require()  # before 40 MB of pictures go to the store for nothing
    file_prefix = uuid4()
    with services.listener.expect(file_prefix) as ended:
        with await services.quotas.admit(caller, order) as room:
            inputs = await _store_pictures(services, caller.tenant_id, file_prefix, order)
            new = _new_job(services, caller.tenant_id, file_prefix, order, inputs)
            outcome = await _record(services, new)
            if isinstance(outcome, JobRecorded):
                room.take()
        if isinstance(outcome, JobRepeated):
            bind_contextvars(job_id=outcome.job.id)
            return await follow_job(services, outcome.job, hung_up)
        job = _queued(new, outcome.job_id)
        bind_contextvars(job_id=job.id)
        services.ringer.ring(job.queue)
        services.estimates.note_accepted(job)
        SUBMIT_SECONDS.observe(monotonic() - begun)
        view = JobView(job=job, delivery=None, delivery_failures=0)
        return await wait_for_job(services, view, ended, hung_up)


async def _record(services: Services, new: NewJob) -> JobRecorded | JobRepeated:
    async with services.database.direct(new.tenant_id) as connection:
        outcome = await record_job(connection, new)
    if isinstance(outcome, IdempotencyKeyTaken):
        told = (
            "The Idempotency-Key was used before for another request, "
            f"job {outcome.job_id}: send a new key with a new request."
        )
        raise InvalidFieldsError([FieldError(("Idempotency-Key",), told, "parameter")])
    return outcome


async def _store_pictures(
    services: Services, tenant_id: int, file_prefix: UUID, order: JobRequest
) -> dict[str, InputImage]:
    inputs = {}
    for field, picture in order.pictures.items():
        if isinstance(picture, str):
            inputs[field] = InputImage(url=picture)
        else:
            key = input_key(tenant_id, file_prefix, field)
            await services.storage.put(key, picture, content_type=UNKNOWN_CONTENT)
            inputs[field] = InputImage(object_key=key)
    return inputs


def _new_job(
    services: Services,
    tenant_id: int,
    file_prefix: UUID,
    order: JobRequest,
    inputs: dict[str, InputImage],
) -> NewJob:
    return NewJob(
        tenant_id=tenant_id,
        file_prefix=file_prefix,
        queue=order.queue,
        priority=order.priority,
        request=order.request,
        inputs=inputs,
        base64=order.base64,
        max_attempts=services.settings.jobs.max_attempts,
        webhook_url=order.webhook_url,
        track_id=order.track_id,
        idempotency_key=order.idempotency_key,
        request_digest=order.request_digest,
    )


def _queued(new: NewJob, job_id: int) -> JobRecord:
    """Give the record of a job just recorded, without reading it back."""
    return JobRecord(
        id=job_id,
        tenant_id=new.tenant_id,
        file_prefix=new.file_prefix,
        queue=new.queue,
        state=JobState.QUEUED,
        attempt=0,
        request=new.request,
        inputs=new.inputs,
        base64=new.base64,
        webhook_url=new.webhook_url,
        track_id=new.track_id,
        result=None,
        error_code=None,
        error_message=None,
        created_at=utc_now(),
        started_at=None,
        finished_at=None,
        priority=new.priority,
    )
