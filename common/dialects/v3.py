"""The bodies the hosted Stable Diffusion API v3 gives for a job that has ended.

The gateway answers with them and the webhook carries them, so they stand here, once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from common.domain.generation import Endpoint, GenerationRequest
from common.domain.record import JobRecord, JobResult

OUTPUT_DIRECTORY = "out"  # what the hosted service shows; it means nothing


def success_body(
    job: JobRecord,
    result: JobResult,
    *,
    output: Sequence[str],
    inputs: Mapping[str, str],
    webhook_status: str,
) -> dict[str, Any]:
    """Tell of a job that succeeded.

    `output` holds one address per image, or its PNG as base64 where the caller asked for that; it
    is empty, and a message says why, once the pictures have been deleted.
    `inputs` are the addresses of the input pictures by field name.
    """
    body = {
        "status": "success",
        "generationTime": result.generation_seconds,
        "id": job.id,
        "output": list(output),
        "proxy_links": list(output),
        "nsfw_content_detected": any(result.nsfw),
        "webhook_status": webhook_status,
        "meta": meta(job, inputs),
    }
    if job.objects_deleted_at is not None:
        told = f"The pictures of this job were deleted on {job.objects_deleted_at:%Y-%m-%d}."
        body |= {"message": told, "messege": told}
    return body


def failed_body(job_id: int, message: str) -> dict[str, Any]:
    """Tell of a job that failed; `messege` is how the hosted service spells it."""
    return {
        "status": "failed",
        "id": job_id,
        "message": message,
        "messege": message,
        "output": [],
    }


def meta(job: JobRecord, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Tell what was drawn, every value in its real type."""
    request = job.request
    yes_or_no = "yes" if request.safety_checker else "no"
    told: dict[str, Any] = {
        "H": request.height,
        "W": request.width,
        "file_prefix": str(job.file_prefix),
        "guidance_scale": request.guidance_scale,
        **inputs,
        "n_samples": request.samples,
        "negative_prompt": request.negative_prompt,
        "outdir": OUTPUT_DIRECTORY,
        "prompt": request.prompt,
        # Their img2img page spells this one differently; clients read what they know.
        "safety_checker" if request.endpoint is Endpoint.IMG2IMG else "safetychecker": yes_or_no,
        "seed": request.seed,
        "steps": request.inference_steps,
    }
    if request.endpoint is not Endpoint.TEXT2IMG:
        told["strength"] = request.strength
    return told | _beyond(request)


def _beyond(request: GenerationRequest) -> dict[str, Any]:
    """Tell what was asked for beyond the hosted service's v3, and only that.

    Programs that know its fields alone, and may be strict about it, see those.
    """
    told: dict[str, Any] = {
        "scheduler": request.scheduler,
        "mask_invert": "yes" if request.mask_invert else None,
        "mask_grow": request.mask_grow or None,
        "mask_blur": request.mask_blur or None,
        "mask_padding": request.mask_padding,
    }
    return {name: value for name, value in told.items() if value is not None}
