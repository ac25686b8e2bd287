"""JSON response bodies for ended jobs, in the format of the hosted Stable Diffusion API v3.

They are shared because the gateway returns them in responses and the dispatcher sends them in
webhooks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from common.domain.generation import Endpoint, GenerationRequest
from common.domain.record import JobRecord, JobResult

OUTPUT_DIRECTORY = "out"  # a constant of the hosted service without a meaning here
ATTENTION_SLICING = "false"  # a text; the engine's attention needs no slices
UNKNOWN_REASON = "the job failed for a reason that was not recorded"


def success_body(
    job: JobRecord,
    result: JobResult,
    *,
    output: Sequence[str],
    inputs: Mapping[str, str],
    webhook_status: str,
) -> dict[str, Any]:
    """Return the JSON body for a job that succeeded.

    `output` holds one URL per image, or one base64 PNG if the request asked for base64. It is empty
    once the images have been deleted, and a message in the body says so. `inputs` holds the URLs of
    the input images by field name.
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
        message = f"The images of this job were deleted on {job.objects_deleted_at:%Y-%m-%d}."
        body |= {"message": message, "messege": message}
    return body


def failed_body(job_id: int, message: str | None) -> dict[str, Any]:
    """Return the JSON body for a job that failed.

    The misspelled field `messege` is intentional: clients of the hosted API read it.
    """
    message = message or UNKNOWN_REASON
    return {
        "status": "failed",
        "id": job_id,
        "message": message,
        "messege": message,
        "output": [],
    }


def meta(job: JobRecord, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the `meta` object of a response, which contains the job's generation parameters.

    `inputs` holds the URLs of the input images by field name.
    """
    request = job.request
    yes_or_no = "yes" if request.safety_checker else "no"
    parameters: dict[str, Any] = {
        "H": request.height,
        "W": request.width,
        "enable_attention_slicing": ATTENTION_SLICING,
        "file_prefix": str(job.file_prefix),
        "guidance_scale": request.guidance_scale,
        **inputs,
        "model": request.model,
        "n_samples": request.samples,
        "negative_prompt": request.negative_prompt,
        "outdir": OUTPUT_DIRECTORY,
        "prompt": request.prompt,
        "revision": request.revision or "",
        # The hosted img2img spells this one differently; clients depend on it.
        "safety_checker" if request.endpoint is Endpoint.IMG2IMG else "safetychecker": yes_or_no,
        "seed": request.seed,
        "steps": request.inference_steps,
        "vae": request.model,  # each model decodes with its own
    }
    if request.endpoint is not Endpoint.TEXT2IMG:
        parameters["strength"] = request.strength
    return parameters | _extensions(request)


def _extensions(request: GenerationRequest) -> dict[str, Any]:
    """Return the parameters that the hosted v3 API does not have, if the request set them.

    They are left out otherwise, because strict clients may accept only the hosted API's fields.
    """
    extensions: dict[str, Any] = {
        "scheduler": request.scheduler,
        "mask_invert": "yes" if request.mask_invert else None,
        "mask_grow": request.mask_grow or None,
        "mask_blur": request.mask_blur or None,
        "mask_padding": request.mask_padding,
    }
    return {name: value for name, value in extensions.items() if value is not None}
