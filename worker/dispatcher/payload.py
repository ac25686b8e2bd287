"""The body of a webhook: the v3 response for the ended job, with its `track_id`."""

from typing import Any

import orjson

from common.dialects.v3 import failed_body, success_body
from common.domain.delivery import Event
from common.domain.record import JobRecord, JobResult
from common.object_store.job_images import input_image_urls, output_images
from common.object_store.storage import Storage
from common.postgres.repositories.deliveries.claim import DueDelivery


async def build_payload(due: DueDelivery, storage: Storage) -> bytes:
    """Return the JSON body for one delivery attempt.

    The image URLs are presigned anew for each attempt, so that they have not expired. For a
    canceled job, the status is `failed` and the message is the reason, because v3 has no status for
    canceled jobs.

    Raises:
        StorageUnavailableError: the images are part of the body and could not be read.
    """
    job = due.job
    if due.event is Event.SUCCEEDED and job.result is not None:
        body = await _success_body(job, job.result, storage, repeated=due.failures > 0)
    else:
        body = failed_body(job.id, job.error_message)
    # Copied: the bytes orjson returns hold at least 4 kB of memory, and thousands may wait.
    return bytes(memoryview(orjson.dumps({**body, "track_id": job.track_id})))


async def _success_body(
    job: JobRecord, result: JobResult, storage: Storage, *, repeated: bool
) -> dict[str, Any]:
    return success_body(
        job,
        result,
        output=await output_images(job, result, storage),
        inputs=await input_image_urls(job, storage),
        webhook_status="retrying" if repeated else "pending",
    )
