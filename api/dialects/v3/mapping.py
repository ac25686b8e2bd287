"""Map a v3 request to a job: enhance the prompt, choose the seed."""

import secrets
from uuid import uuid4

from api.dialects.v3.schemas import GenerationBody
from api.jobs.submit import ImageContent, input_images
from common.domain.generation import SEED_LIMIT, GenerationRequest
from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, enhance_prompt
from common.domain.record import NewJob
from common.settings.catalogue import ModelEntry


def to_generation_request(body: GenerationBody, model: ModelEntry) -> GenerationRequest:
    """Return the generation request with all defaults resolved, including a random seed."""
    seed = secrets.randbelow(SEED_LIMIT) if body.seed is None else body.seed
    return GenerationRequest(
        endpoint=body.endpoint,
        model=model.name,
        revision=model.revision,
        prompt=enhance_prompt(body.prompt, seed) if body.enhance_prompt else body.prompt,
        negative_prompt=body.negative_prompt or DEFAULT_NEGATIVE_PROMPT,
        width=body.width,
        height=body.height,
        samples=body.samples,
        inference_steps=body.num_inference_steps,
        guidance_scale=body.guidance_scale,
        strength=body.strength_used,
        seed=seed,
        safety_checker=body.safety_checker,
        scheduler=body.scheduler,
        **body.mask_changes,
    )


def to_new_job(
    body: GenerationBody,
    model: ModelEntry,
    *,
    tenant_id: int,
    max_attempts: int,
    idempotency_key: str | None,
    request_digest: bytes | None,
) -> tuple[NewJob, dict[str, ImageContent]]:
    """Return the job to record, and the images to upload beforehand, by object key."""
    file_prefix = uuid4()
    inputs, images = input_images(body.images, tenant_id, file_prefix)
    new_job = NewJob(
        tenant_id=tenant_id,
        file_prefix=file_prefix,
        queue=model.queue,
        priority=body.priority,
        request=to_generation_request(body, model),
        inputs=inputs,
        base64=body.base64_,
        max_attempts=max_attempts,
        webhook_url=body.webhook,
        track_id=body.track_id,
        idempotency_key=idempotency_key,
        request_digest=request_digest,
    )
    return new_job, images
