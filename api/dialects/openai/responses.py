"""JSON bodies of responses and events."""

import asyncio
import base64
import math
from http import HTTPStatus
from io import BytesIO
from typing import Any

import structlog

from api.dialects.openai.errors import NO_RETRY, JobFailedError
from api.dialects.openai.image_header import read_image_header
from api.errors.api_error import RETRY_AFTER, ApiError
from common.domain.errors import StorageUnavailableError
from common.domain.generation import Endpoint, ImageFormat
from common.domain.record import JobRecord
from common.object_store.storage import Storage
from common.settings.catalogue import ModelEntry

OWNER = "infill"

log = structlog.get_logger(__name__)


def job_headers(job: JobRecord) -> dict[str, str]:
    """Return the header that names the job, by which the native API shows and cancels it."""
    return {"x-infill-job-id": str(job.id)}


async def read_images(storage: Storage, job: JobRecord) -> list[str]:
    """Return the images of an ended job as base64 text.

    Raises:
        JobFailedError: the job has failed or was canceled.
        ApiError: the images cannot be read, or a repeated request comes after their deletion.
    """
    if job.result is None:
        raise JobFailedError(job, job_headers(job))
    if job.objects_deleted_at is not None:
        raise ApiError(
            f"The images of this job were deleted on {job.objects_deleted_at:%Y-%m-%d}.",
            code="images_deleted",
            status=HTTPStatus.NOT_FOUND.value,
            headers=NO_RETRY,
        )
    try:
        images = await asyncio.gather(*(storage.get(key) for key in job.result.object_keys))
    except StorageUnavailableError as error:
        log.error("storage_unavailable", detail=error.detail)  # noqa: TRY400 - not a defect
        raise ApiError(
            "The images have been generated, but the image store cannot be reached at the moment.",
            code=error.code,
            status=HTTPStatus.SERVICE_UNAVAILABLE.value,
            headers={**job_headers(job), **RETRY_AFTER, **NO_RETRY},  # a repetition costs again
        ) from error
    return [base64.b64encode(image).decode() for image in images]


def images_body(job: JobRecord, images: list[str], quality: str) -> dict[str, Any]:
    """Return the JSON body of a response with the images of a job."""
    return {
        "created": _created(job),
        "data": [{"b64_json": image} for image in images],
        **_description(job, quality),
        "usage": usage_body(job.request.cost),
    }


def completed_event(job: JobRecord, image: str, quality: str) -> dict[str, Any]:
    """Return the event that contains one finished image."""
    return {
        "type": f"{_event_prefix(job)}.completed",
        "b64_json": image,
        "created_at": _created(job),
        **_description(job, quality),
        "usage": usage_body(job.request.cost / job.request.samples),
    }


def partial_event(job: JobRecord, preview: bytes, index: int, quality: str) -> dict[str, Any]:
    """Return the event that contains a preview, which is a JPEG smaller than the image."""
    header = read_image_header(BytesIO(preview))
    size = "auto" if header is None else f"{header.width}x{header.height}"
    return {
        "type": f"{_event_prefix(job)}.partial_image",
        "b64_json": base64.b64encode(preview).decode(),
        "partial_image_index": index,
        "created_at": _created(job),
        **_description(job, quality),
        "output_format": str(ImageFormat.JPEG),
        "size": size,
    }


def usage_body(cost: float) -> dict[str, Any]:
    """Return the usage: credits, rounded up, as output tokens; Infill does not charge for input."""
    credits_used = math.ceil(cost)
    return {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": credits_used,
        "output_tokens_details": {"image_tokens": credits_used, "text_tokens": 0},
        "total_tokens": credits_used,
    }


def model_body(model: ModelEntry) -> dict[str, Any]:
    """Return the description of a model; when it was made is not known."""
    return {"id": model.name, "object": "model", "created": 0, "owned_by": OWNER}


def _description(job: JobRecord, quality: str) -> dict[str, Any]:
    request = job.request
    return {
        "background": "opaque",
        "output_format": str(request.output_format),
        "quality": quality,
        "size": f"{request.width}x{request.height}",
    }


def _created(job: JobRecord) -> int:
    return int(job.created_at.timestamp())


def _event_prefix(job: JobRecord) -> str:
    return "image_generation" if job.request.endpoint is Endpoint.TEXT2IMG else "image_edit"
