"""Map a request of the OpenAI Images API to a job: endpoint, model, size, steps, strength."""

import secrets
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from api.auth.api_keys import AuthenticatedTenant
from api.dialects.openai.errors import InvalidParameterError
from api.dialects.openai.images import ImageReader, SourceImage
from api.dialects.openai.schemas import EditBody, GenerationBody
from api.dialects.openai.sizes import choose_size
from api.jobs.model_choice import ModelChoice, model_choice_for
from api.jobs.submit import ImageContent, input_images
from common.domain.errors import UnsupportedRequestError
from common.domain.generation import SEED_LIMIT, Endpoint, GenerationRequest
from common.domain.limits import Limits
from common.domain.prompts import DEFAULT_NEGATIVE_PROMPT
from common.domain.record import NewJob
from common.domain.schedulers import find_scheduler
from common.settings.catalogue import Catalogue, ModelEntry

# What the responses call the qualities that a request can name.
QUALITIES: Final = {
    **dict.fromkeys(("low",), "low"),
    **dict.fromkeys(("medium", "auto", "standard"), "medium"),
    **dict.fromkeys(("high", "hd", "xhigh", "max"), "high"),
}
STEPS: Final = {"low": 12, "medium": 21, "high": 40}
# For models that were distilled to few steps.
FEW_STEPS: Final = {"low": 3, "medium": 5, "high": 8}
DISTILLED: Final = "LCM"
# The strength by `input_fidelity`: with a mask, the rest of the image is kept in any case.
MASKED_STRENGTH: Final = {"low": 1.0, "high": 0.75}
UNMASKED_STRENGTH: Final = {"low": 0.8, "high": 0.5}
_OWN_MASK: Final = "own_mask"


@dataclass(frozen=True, slots=True)
class Sources:
    """The images of a request, none for a generation."""

    image: SourceImage | None = None
    mask: SourceImage | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A validated request: its parameters, images, endpoint and model."""

    body: GenerationBody
    sources: Sources
    endpoint: Endpoint
    model: ModelEntry


def read_sources(reader: ImageReader, kind: type[GenerationBody]) -> Sources:
    """Return the images of a request whose body is of type `kind`.

    Raises:
        InvalidParameterError: an image is missing or cannot be used.
    """
    if kind is not EditBody:
        return Sources()
    image = reader.read_image()
    return Sources(image, reader.read_mask(image))


def to_order(body: GenerationBody, sources: Sources, catalogue: Catalogue, limits: Limits) -> Order:
    """Choose the endpoint and the model for a request.

    Raises:
        UnsupportedRequestError: the tenant has no model that could serve the request.
    """
    choices: list[ModelChoice] = []
    unsupported: UnsupportedRequestError | None = None
    for endpoint in _possible_endpoints(sources):
        try:
            choices.append(model_choice_for(catalogue, limits, endpoint))
        except UnsupportedRequestError as error:
            unsupported = unsupported or error
    if not choices:
        raise unsupported or UnsupportedRequestError("No model serves this request.")
    named = (one for one in choices if one.pick(body.model).name == body.model)
    choice = next(named, choices[0])
    model = choice.pick(body.model)
    if body.safety_checker and not model.safety_checker:
        raise InvalidParameterError(
            "safety_checker", f"The model {model.name} has no safety checker."
        )
    return Order(body, sources, choice.endpoint, model)


def to_new_job(
    order: Order,
    tenant: AuthenticatedTenant,
    *,
    max_attempts: int,
    idempotency_key: str | None,
    request_digest: bytes | None,
) -> tuple[NewJob, dict[str, ImageContent]]:
    """Return the job to record, and the images to upload beforehand, by object key.

    Raises:
        InvalidParameterError: a parameter contradicts the model or the tenant's plan.
    """
    file_prefix = uuid4()
    request = _to_generation_request(order, tenant.limits)
    given = _inputs(order)
    inputs, images = input_images(given, tenant.tenant_id, file_prefix)
    if order.endpoint is Endpoint.INPAINT and order.sources.mask is None:
        inputs[_OWN_MASK] = inputs["init_image"]
    new_job = NewJob(
        tenant_id=tenant.tenant_id,
        file_prefix=file_prefix,
        queue=order.model.queue,
        priority=order.body.priority,
        request=request,
        inputs=inputs,
        base64=False,
        max_attempts=max_attempts,
        webhook_url=order.body.webhook,
        track_id=order.body.track_id,
        idempotency_key=idempotency_key,
        request_digest=request_digest,
    )
    return new_job, images


def _possible_endpoints(sources: Sources) -> tuple[Endpoint, ...]:
    """Return the endpoints that could serve a request, the preferred one first.

    An image with transparency is its own mask. Whether the image at a URL has any, only the worker
    sees, which repaints all of an opaque image.
    """
    if sources.image is None:
        return (Endpoint.TEXT2IMG,)
    if sources.mask is not None:
        return (Endpoint.INPAINT,)
    header = sources.image.header
    if header is None or header.has_alpha:
        return (Endpoint.INPAINT, Endpoint.IMG2IMG)
    return (Endpoint.IMG2IMG, Endpoint.INPAINT)


def _inputs(order: Order) -> dict[str, Any]:
    sources = {"init_image": order.sources.image, "alpha_mask": order.sources.mask}
    return {name: source.content for name, source in sources.items() if source is not None}


def _to_generation_request(order: Order, limits: Limits) -> GenerationRequest:
    body = order.body
    header = None if order.sources.image is None else order.sources.image.header
    width, height = choose_size(body.size, header, order.model, limits)
    return GenerationRequest(
        endpoint=order.endpoint,
        model=order.model.name,
        prompt=body.prompt,
        negative_prompt=body.negative_prompt or DEFAULT_NEGATIVE_PROMPT,
        width=width,
        height=height,
        samples=body.n,
        inference_steps=_choose_steps(body, order.model, limits),
        guidance_scale=body.guidance_scale,
        strength=_choose_strength(order),
        seed=secrets.randbelow(SEED_LIMIT) if body.seed is None else body.seed,
        safety_checker=body.safety_checker or limits.require_safety_checker,
        scheduler=body.scheduler,
        output_format=body.output_format,
        output_quality=body.output_compression,
        **_mask_changes(order),
    )


def _choose_steps(body: GenerationBody, model: ModelEntry, limits: Limits) -> int:
    """Return the number of steps, which `num_inference_steps` or else `quality` determines."""
    name = body.scheduler or model.scheduler
    scheduler = None if name is None else find_scheduler(name)
    most = limits.max_inference_steps
    wanted = body.num_inference_steps
    if wanted is None:
        is_distilled = scheduler is not None and scheduler.name == DISTILLED
        by_quality = (FEW_STEPS if is_distilled else STEPS)[QUALITIES[body.quality]]
        return by_quality if most is None else min(by_quality, most)
    if scheduler is not None and scheduler.most_steps is not None:
        most = scheduler.most_steps if most is None else min(most, scheduler.most_steps)
    if most is not None and wanted > most:
        raise InvalidParameterError(
            "num_inference_steps",
            f"Invalid value for 'num_inference_steps': it must be at most {most} here.",
        )
    return wanted


def _choose_strength(order: Order) -> float:
    body = order.body
    if not isinstance(body, EditBody):
        return 1.0
    by_fidelity = UNMASKED_STRENGTH if order.sources.mask is None else MASKED_STRENGTH
    return by_fidelity[body.input_fidelity] if body.strength is None else body.strength


def _mask_changes(order: Order) -> dict[str, Any]:
    body = order.body
    if not isinstance(body, EditBody) or order.endpoint is not Endpoint.INPAINT:
        return {}
    return {
        "mask_invert": body.mask_invert,
        "mask_grow": body.mask_grow,
        "mask_blur": body.mask_blur,
        "mask_padding": body.mask_padding,
    }
