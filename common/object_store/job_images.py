"""The images of a job as included in a response or webhook: links or base64."""

import asyncio
import base64

from common.domain.record import JobRecord, JobResult
from common.object_store.storage import Storage


async def output_images(job: JobRecord, result: JobResult, storage: Storage) -> list[str]:
    """Return a link or a base64 PNG per image, or an empty list if the images have been deleted.

    Raises:
        StorageUnavailableError: an image that the job wants as base64 could not be read, or
            expired credentials could not be refreshed.
    """
    if job.objects_deleted_at is not None:
        return []
    if not job.base64:
        return [await storage.link(key) for key in result.object_keys]
    images = await asyncio.gather(*(storage.get(key) for key in result.object_keys))
    return [base64.b64encode(image).decode() for image in images]


async def input_image_urls(job: JobRecord, storage: Storage) -> dict[str, str]:
    """Return the URL of each input image by field name.

    The URL is an empty string if the image was uploaded and has been deleted.

    Raises:
        StorageUnavailableError: expired credentials could not be refreshed.
    """
    gone = job.objects_deleted_at is not None
    return {
        field: image.url or ""
        if gone or image.object_key is None
        else await storage.link(image.object_key)
        for field, image in job.inputs.items()
    }
