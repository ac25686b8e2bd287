"""The end of a wait: cancel a job whose images nobody would receive, and explain why."""

from http import HTTPStatus

import structlog

from api.dialects.openai.errors import NO_RETRY, RETRY
from api.dialects.openai.responses import job_headers
from api.errors.api_error import RETRY_AFTER, ApiError, UnavailableError
from api.services import Services
from common.domain.job import FINAL_STATES
from common.domain.record import JobRecord
from common.postgres.errors import is_unavailable
from common.postgres.repositories.jobs.finish import cancel
from common.postgres.repositories.jobs.read import read_job

CANCELED_MESSAGE = "the job was canceled because its caller stopped waiting for it"

log = structlog.get_logger(__name__)


async def end_wait(services: Services, job: JobRecord, *, is_repeatable: bool) -> JobRecord:
    """Return the job if it has ended after all; otherwise cancel it if nobody will receive it.

    A job with a webhook goes on, and so does one whose request can be repeated with its
    `Idempotency-Key` (`is_repeatable`). A canceled job is not charged.

    Raises:
        ApiError: the job has not ended.
    """
    if job.state in FINAL_STATES:
        return job
    if job.webhook_url is not None or is_repeatable:
        raise _still_running(job, is_repeatable=is_repeatable)
    ended = await _cancel(services, job)
    if ended is not None:
        return ended
    if services.completions.is_closing:
        raise UnavailableError("This gateway is stopping.", code="gateway_stopping")
    raise ApiError(
        "The job took longer than this service waits for it, and was canceled. It is not charged. "
        "To wait longer, send a `webhook` or an `Idempotency-Key`.",
        code="timeout",
        status=HTTPStatus.GATEWAY_TIMEOUT.value,
        headers={**job_headers(job), **NO_RETRY},
    )


def _still_running(job: JobRecord, *, is_repeatable: bool) -> ApiError:
    how = "Its result goes to the webhook."
    headers = {**job_headers(job), **NO_RETRY}
    if is_repeatable:
        how = "Repeat the request with the same `Idempotency-Key` to receive its images."
        headers |= {**RETRY, **RETRY_AFTER}
    return ApiError(
        f"Job {job.id} takes longer than this service waits for it, and goes on. {how}",
        code="timeout",
        status=HTTPStatus.GATEWAY_TIMEOUT.value,
        headers=headers,
    )


async def _cancel(services: Services, job: JobRecord) -> JobRecord | None:
    """Cancel the job; return it if it had ended already. Without Postgres it goes on."""
    try:
        async with services.database.direct(job.tenant_id) as connection:
            ended = await cancel(
                connection, tenant_id=job.tenant_id, job_id=job.id, message=CANCELED_MESSAGE
            )
            if ended is None:
                view = await read_job(connection, tenant_id=job.tenant_id, job_id=job.id)
                return None if view is None else view.job
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.warning("job_not_canceled", job_id=job.id, error=type(error).__name__)
        return None
    await services.announcer.announce_canceled(ended)
    log.info("job_canceled", job_id=job.id)
    return None
