"""From a v3 body to an order: the prompt enhanced, the seed drawn, nothing left open."""

import hashlib
import json
import secrets
from typing import Any, Final

from starlette.requests import Request

from api.dialects.v3.schemas import GenerationBody
from api.errors.api_error import FieldError, InvalidFieldsError, MalformedBodyError
from api.jobs.new_request import JobRequest
from common.domain.generation import SEED_LIMIT, GenerationRequest
from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT, enhance
from common.settings.catalogue import ModelEntry

MAX_IDEMPOTENCY_KEY: Final = 255


def to_job_request(
    body: GenerationBody, model: ModelEntry, key: str | None, digest: bytes | None
) -> JobRequest:
    """Resolve what the body leaves open; `key` and `digest` make the order repeatable."""
    seed = secrets.randbelow(SEED_LIMIT) if body.seed is None else body.seed
    return JobRequest(
        request=GenerationRequest(
            endpoint=body.endpoint,
            model=model.name,
            prompt=enhance(body.prompt, seed) if body.enhance_prompt else body.prompt,
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
        ),
        queue=model.queue,
        pictures=body.pictures,
        base64=body.base64_,
        priority=body.priority,
        webhook_url=body.webhook,
        track_id=body.track_id,
        idempotency_key=key,
        request_digest=digest,
    )


def idempotency_key(request: Request) -> str | None:
    """Read the header that makes a request repeatable.

    Raises:
        InvalidFieldsError: it is empty, too long, or holds more than visible ASCII characters.
    """
    key = request.headers.get("idempotency-key")
    if key is None or (0 < len(key) <= MAX_IDEMPOTENCY_KEY and _is_visible(key)):
        return key
    detail = f"The Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters."
    raise InvalidFieldsError([FieldError(("Idempotency-Key",), detail, "parameter")])


def request_digest_of(endpoint: str, fields: dict[str, Any]) -> bytes:
    """Give the SHA-256 of what was asked, the API key aside; the order of fields is no matter.

    Raises:
        MalformedBodyError: a field holds more levels than can be spelled out.
    """
    asked = {name: value for name, value in fields.items() if name != "key"}
    try:
        spelled = json.dumps([endpoint, asked], sort_keys=True, default=_of_file)
    except RecursionError as error:
        # The parser takes deeper ones; fields we do not know get here unread.
        raise MalformedBodyError("The JSON is nested too deeply.") from error
    return hashlib.sha256(spelled.encode()).digest()


def _of_file(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
