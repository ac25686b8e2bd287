"""Map a v3 request to a job: enhance the prompt, choose the seed, read the idempotency key."""

import hashlib
import json
import secrets
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request

from api.body.receiving.spool import LongValue
from api.dialects.v3.schemas import GenerationBody
from api.errors.api_error import FieldError, InvalidFieldsError, MalformedBodyError
from api.jobs.submit import ImageContent, input_images
from common.domain.generation import SEED_LIMIT, GenerationRequest
from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, enhance_prompt
from common.domain.record import NewJob
from common.settings.catalogue import ModelEntry

MAX_IDEMPOTENCY_KEY: Final = 255


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


def read_idempotency_key(request: Request) -> str | None:
    """Return the `Idempotency-Key` header, or None; requests with the same key share one job.

    Raises:
        InvalidFieldsError: the key is empty, too long, or has characters other than visible ASCII.
    """
    key = request.headers.get("idempotency-key")
    if key is None or (0 < len(key) <= MAX_IDEMPOTENCY_KEY and _is_visible(key)):
        return key
    detail = f"The Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters."
    raise InvalidFieldsError([FieldError(("Idempotency-Key",), detail, "parameter")])


def request_digest_of(endpoint: str, fields: dict[str, Any]) -> bytes:
    """Return the SHA-256 of the endpoint and the fields, ignoring field order and the API key.

    Raises:
        MalformedBodyError: a field is nested too deeply to be serialized.
    """
    requested = {name: value for name, value in fields.items() if name != "key"}
    try:
        serialized = json.dumps([endpoint, requested], sort_keys=True, default=_digest_of_file)
    except RecursionError as error:
        # The JSON parser reads deeper nesting than this; unknown fields get here unvalidated.
        raise MalformedBodyError("The JSON is nested too deeply.") from error
    return hashlib.sha256(serialized.encode()).digest()


def _digest_of_file(content: bytes | LongValue) -> str:
    digest = hashlib.sha256()
    for block in content.raw_blocks() if isinstance(content, LongValue) else (content,):
        digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
