"""The body of a webhook: the v3 answer for the ended job, with its `track_id`."""

import asyncio
import base64
from typing import Any

import orjson

from common.domain.answers import failed_body, success_body
from common.domain.delivery import Event
from common.domain.record import InputImage, JobRecord, JobResult
from common.repositories.deliveries import DueDelivery
from common.storage import Storage


async def payload(due: DueDelivery, storage: Storage) -> bytes:
    """Write the body of one attempt; its links are signed now, so that they outlive the wait.

    A canceled job is told as failed, with the reason: v3 has no word for it.

    Raises:
        StorageUnavailableError: the caller wants the images themselves and they were not to be had.
    """
    job = due.job
    if due.event is Event.SUCCEEDED and job.result is not None:
        body = await _success(job, job.result, storage, repeated=due.failures > 0)
    else:
        body = failed_body(job.id, job.error_message or "")
    return orjson.dumps({**body, "track_id": job.track_id})


async def _success(
    job: JobRecord, result: JobResult, storage: Storage, *, repeated: bool
) -> dict[str, Any]:
    return success_body(
        job,
        result,
        output=await _output(job, result, storage),
        inputs={name: _address(image, storage) for name, image in job.inputs.items()},
        webhook_status="retrying" if repeated else "pending",
    )


async def _output(job: JobRecord, result: JobResult, storage: Storage) -> list[str]:
    if not job.base64:
        return [storage.link(key) for key in result.object_keys]
    images = await asyncio.gather(*(storage.get(key) for key in result.object_keys))
    return [base64.b64encode(image).decode() for image in images]


def _address(image: InputImage, storage: Storage) -> str:
    return storage.link(image.object_key) if image.object_key is not None else image.url or ""
