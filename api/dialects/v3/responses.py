"""JSON bodies of v3 responses."""

from typing import Any

from api.services import Services
from common.dialects.v3 import failed_body, meta, success_body
from common.domain.delivery import DeliveryState
from common.domain.job import FINAL_STATES, JobState
from common.domain.object_keys import result_key
from common.domain.record import JobRecord
from common.object_store.job_images import input_image_urls, output_images
from common.postgres.repositories.jobs.read import JobView

# The hosted service's sentence; some clients look for it.
FETCH_LATER = "Try to fetch request after seconds estimated"
NOT_FOUND = "Request not found"


async def job_body(services: Services, view: JobView) -> dict[str, Any]:
    """Return the JSON body for a job that has succeeded, failed, or is still being processed.

    Raises:
        StorageUnavailableError: the request asked for base64, and an image could not be read.
    """
    job = view.job
    if job.result is not None:
        return success_body(
            job,
            job.result,
            output=await output_images(job, job.result, services.storage),
            inputs=await input_image_urls(job, services.storage),
            webhook_status=webhook_status(view),
        )
    if job.state in {JobState.FAILED, JobState.CANCELED}:
        return failed_body(job.id, job.error_message)
    return await _processing_body(services, view)


def not_found_body() -> dict[str, Any]:
    """Return the JSON body for a malformed or unknown job id, or the id of another tenant's job.

    It is always the same, so that it does not reveal which ids exist.
    """
    return failed_body(0, NOT_FOUND)


def webhook_status(view: JobView) -> str:
    """Return the status of a job's webhook; empty if it has none or its row was deleted."""
    if view.job.webhook_url is None:
        return ""
    match view.delivery:
        case None:  # written when the job ends, deleted some time after delivery
            return "" if view.job.state in FINAL_STATES else "pending"
        case DeliveryState.DELIVERED:
            return "delivered"
        case DeliveryState.EXHAUSTED | DeliveryState.DISCARDED:
            return "exhausted"
        case _:
            return "retrying" if view.delivery_failures else "pending"


async def _processing_body(services: Services, view: JobView) -> dict[str, Any]:
    job = view.job
    progress = await services.progress_reader.read(job)
    estimate = await services.eta_estimator.estimate_end(
        job, progress, sees_progress=services.progress_reader.is_available
    )
    base = services.settings.gateway.public_url.rstrip("/")
    body = {
        "status": "processing",
        "tip": estimate.tip,
        "eta": estimate.seconds,
        "messege": FETCH_LATER,
        "message": FETCH_LATER,
        "fetch_result": f"{base}/api/v3/fetch/{job.id}",
        "id": job.id,
        "output": [],
        "future_links": [await services.storage.link(key) for key in _future_keys(job)],
        "webhook_status": webhook_status(view),
        "meta": meta(job, await input_image_urls(job, services.storage)),
    }
    if progress is not None:
        body["progress"] = {"step": progress.step, "steps": progress.steps}
    return body


def _future_keys(job: JobRecord) -> list[str]:
    """Return the object keys of the images that the running or else the next attempt will store."""
    attempt = job.attempt if job.state is JobState.RUNNING else job.attempt + 1
    return [
        result_key(job.tenant_id, job.file_prefix, attempt, index, job.request.output_format)
        for index in range(job.request.samples)
    ]
