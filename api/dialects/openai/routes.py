"""The HTTP routes of the OpenAI Images API, under `/v1` and `/openai/v1`."""

from typing import Final

from fastapi import APIRouter, Request, Response
from structlog.contextvars import bind_contextvars

from api.auth.api_keys import AuthenticatedTenant, find_header_key
from api.auth.authenticated_bodies import AuthenticatedBody
from api.body.json_response import json_response, note_outcome
from api.dialects.bare_route import BareRoute
from api.dialects.openai.ending import end_wait
from api.dialects.openai.images import ImageReader
from api.dialects.openai.mapping import QUALITIES, Order, read_sources, to_new_job, to_order
from api.dialects.openai.openapi import document_images, document_models
from api.dialects.openai.responses import images_body, job_headers, model_body, read_images
from api.dialects.openai.schemas import EditBody, GenerationBody, read_body
from api.dialects.openai.streaming import EventStream, StreamOptions
from api.errors.api_error import ApiError
from api.jobs.idempotency import read_idempotency_key, request_digest_of
from api.jobs.submit import Uploads, submit
from api.jobs.wait import Wait, hanging_up
from api.services import Services
from common.postgres.repositories.jobs.read import JobView
from common.settings.catalogue import ModelEntry

PREFIXES: Final = ("/v1", "/openai/v1")


async def edit_images(request: Request) -> Response:
    """Repaint the transparent part of a mask or of an image, or change the whole image."""
    return await _respond_with_images(request, EditBody)


async def generate_images(request: Request) -> Response:
    """Generate images from a prompt."""
    return await _respond_with_images(request, GenerationBody)


async def list_models(request: Request) -> Response:
    """List the models that the tenant may use."""
    models = await _find_models(request)
    return json_response({"object": "list", "data": [model_body(model) for model in models]})


async def show_model(request: Request, model: str) -> Response:
    """Describe one model."""
    for entry in await _find_models(request):
        if entry.name == model:
            return json_response(model_body(entry))
    raise ApiError("The model does not exist.", code="model_not_found", status=404)


def _build_router() -> APIRouter:
    built = APIRouter(tags=["OpenAI Images API"], route_class=BareRoute)
    for prefix in PREFIXES:
        images = f"{prefix}/images"
        built.post(f"{images}/edits", **document_images(EditBody))(edit_images)
        built.post(f"{images}/generations", **document_images(GenerationBody))(generate_images)
        built.get(f"{prefix}/models", **document_models("list"))(list_models)
        built.get(f"{prefix}/models/{{model}}", **document_models("model"))(show_model)
    return built


router: Final = _build_router()


async def _find_models(request: Request) -> tuple[ModelEntry, ...]:
    services: Services = request.app.state.services
    tenant = await services.api_keys.authenticate(find_header_key(request))
    bind_contextvars(tenant_id=tenant.tenant_id)
    allowed = tenant.limits.models
    entries = services.catalogue.entries
    return tuple(entry for entry in entries if allowed is None or entry.name in allowed)


async def _respond_with_images(request: Request, kind: type[GenerationBody]) -> Response:
    services: Services = request.app.state.services
    async with services.body_reader.read(request) as sent:
        tenant = sent.tenant
        bind_contextvars(tenant_id=tenant.tenant_id)
        rate_limit = await services.rate_limiter.take_token(tenant)
        order = await sent.run(lambda: _read_order(services, sent, kind))
        key = read_idempotency_key(request)
        view = await _submit(request, order, sent, key)
    quality = QUALITIES[order.body.quality]
    job = view.job
    if order.body.stream:
        options = StreamOptions(quality, order.body.partial_images, key is not None)
        note_outcome(request, "streamed")
        return EventStream(services, job, options)
    job = await end_wait(services, job, is_repeatable=key is not None)
    body = images_body(job, await read_images(services.storage, job), quality)
    note_outcome(request, "success")
    headers = {} if rate_limit is None else rate_limit.headers
    return json_response(body, headers={**headers, **job_headers(job)})


def _read_order(services: Services, sent: AuthenticatedBody, kind: type[GenerationBody]) -> Order:
    body = read_body(kind, sent.fields, services.guard)
    max_bytes = services.settings.outbound.image_max_bytes
    sources = read_sources(ImageReader(sent.fields, services.guard, max_bytes), kind)
    return to_order(body, sources, services.catalogue, sent.tenant.limits)


async def _submit(
    request: Request, order: Order, sent: AuthenticatedBody, key: str | None
) -> JobView:
    """Record the job, and wait for it unless the response is streamed."""
    services: Services = request.app.state.services
    tenant: AuthenticatedTenant = sent.tenant
    digest = None
    if key is not None:
        name = f"openai {type(order.body).__name__}"
        digest = await sent.run(lambda: request_digest_of(name, sent.fields))
    new_job, images = to_new_job(
        order,
        tenant,
        max_attempts=services.settings.jobs.max_attempts,
        idempotency_key=key,
        request_digest=digest,
    )
    settings = services.settings.gateway
    seconds = 0.0 if order.body.stream else settings.openai_wait_seconds
    wait = Wait(seconds, hanging_up(request))
    return await submit(services, tenant, new_job, Uploads(images, sent.close), wait)
