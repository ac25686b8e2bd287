"""The pictures of a job as its owner is sent them: as links, or the images themselves."""

import asyncio
import base64

from common.domain.record import JobRecord, JobResult
from common.object_store.storage import Storage


async def output_images(job: JobRecord, result: JobResult, storage: Storage) -> list[str]:
    """Give a link per image, or its PNG as base64; nothing once the pictures have been deleted.

    Raises:
        StorageUnavailableError: the images themselves are wanted and were not to be had.
    """
    if job.objects_deleted_at is not None:
        return []
    if not job.base64:
        return [storage.link(key) for key in result.object_keys]
    images = await asyncio.gather(*(storage.get(key) for key in result.object_keys))
    return [base64.b64encode(image).decode() for image in images]


def input_image_urls(job: JobRecord, storage: Storage) -> dict[str, str]:
    """Give the addresses of the input pictures by field; of one that was deleted, an empty one."""
    gone = job.objects_deleted_at is not None
    return {
        field: image.url or ""
        if gone or image.object_key is None
        else storage.link(image.object_key)
        for field, image in job.inputs.items()
    }
