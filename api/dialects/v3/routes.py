"""The HTTP routes of the v3 dialect: inpaint, img2img, text2img, fetch and system_load."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from fastapi import APIRouter, Request, Response
from structlog.contextvars import bind_contextvars

from api.auth.authenticated_bodies import AuthenticatedBody
from api.body.json_response import json_response, note_outcome
from api.dialects.bare_route import BareRoute
from api.dialects.v3.mapping import to_new_job
from api.dialects.v3.openapi import document_route
from api.dialects.v3.responses import job_body, not_found_body
from api.dialects.v3.schemas import (
    GenerationBody,
    ImageToImageBody,
    InpaintBody,
    TextToImageBody,
    read_body,
)
from api.dialects.v3.validation import ValidationContext
from api.jobs.idempotency import read_idempotency_key, request_digest_of
from api.jobs.model_choice import model_choice_for
from api.jobs.submit import Uploads, submit
from api.jobs.wait import Wait, hanging_up
from api.services import Services
from common.postgres.repositories.jobs.read import read_job

LARGEST_ID: Final = 2**63 - 1


router = APIRouter(prefix="/api/v3", tags=["Stable Diffusion API v3"], route_class=BareRoute)


@router.post("/inpaint", **document_route("inpaint"))
async def inpaint(request: Request) -> Response:
    """Repaint the part of an image that is white in the mask."""
    return await _generate(request, InpaintBody)


@router.post("/img2img", **document_route("img2img"))
async def img2img(request: Request) -> Response:
    """Generate an image from an initial image and a prompt."""
    return await _generate(request, ImageToImageBody)


@router.post("/text2img", **document_route("text2img"))
async def text2img(request: Request) -> Response:
    """Generate an image from a prompt alone."""
    return await _generate(request, TextToImageBody)


@router.post("/fetch/{job_id}", **document_route("fetch"))
async def fetch(request: Request, job_id: str) -> Response:
    """Show the state of a job; the body may repeat the fields of the original request."""
    return await _fetch(request, job_id)


@router.get("/fetch/{job_id}", **document_route("fetch", has_body=False))
async def get_job(request: Request, job_id: str) -> Response:
    """Show the state of a job, like the POST request; the key is in a header."""
    return await _fetch(request, job_id)


async def _fetch(request: Request, job_id: str) -> Response:
    services: Services = request.app.state.services
    async with _read_body(request, services) as sent:
        tenant = sent.tenant
    number = _parse_job_id(job_id)
    if number is not None:
        async with services.database.direct(tenant.tenant_id) as connection:
            view = await read_job(connection, tenant_id=tenant.tenant_id, job_id=number)
        if view is not None:
            bind_contextvars(job_id=number)
            return _respond(request, await job_body(services, view))
    return _respond(request, not_found_body())


@router.post("/system_load", **document_route("system_load"))
async def system_load(request: Request) -> Response:
    """Show the number of the tenant's waiting jobs, and the seconds until a new job would start."""
    services: Services = request.app.state.services
    async with _read_body(request, services) as sent:
        tenant = sent.tenant
    queues = services.catalogue.queues
    loads = [
        await services.eta_estimator.estimate_backlog(tenant.tenant_id, queue) for queue in queues
    ]
    body = {
        "queue_num": sum(waiting for waiting, _ in loads),
        # The wait for the slowest model.
        "queue_time": max((seconds for _, seconds in loads), default=0),
        "status": "ok",
    }
    return _respond(request, body)


async def _generate(request: Request, kind: type[GenerationBody]) -> Response:
    services: Services = request.app.state.services
    async with _read_body(request, services) as sent:
        tenant, fields = sent.tenant, sent.fields
        rate_limit = await services.rate_limiter.take_token(tenant)
        choice = model_choice_for(services.catalogue, tenant.limits, kind.endpoint)
        model = choice.pick(fields.get("model_id"))
        limit = services.settings.outbound.image_max_bytes
        context = ValidationContext(services.guard, limit, model, tenant.limits, choice)
        body = await sent.run(lambda: read_body(kind, fields, context))
        key = read_idempotency_key(request)
        digest = None
        if key is not None:
            digest = await sent.run(lambda: request_digest_of(kind.endpoint, fields))
        new_job, images = to_new_job(
            body,
            model,
            tenant_id=tenant.tenant_id,
            max_attempts=services.settings.jobs.max_attempts,
            idempotency_key=key,
            request_digest=digest,
        )
        uploads = Uploads(images, sent.close)
        wait = Wait(services.settings.gateway.sync_wait_seconds, hanging_up(request))
        view = await submit(services, tenant, new_job, uploads, wait)
    headers = None if rate_limit is None else rate_limit.headers
    return _respond(request, await job_body(services, view), headers)


@asynccontextmanager
async def _read_body(request: Request, services: Services) -> AsyncIterator[AuthenticatedBody]:
    async with services.body_reader.read(request) as sent:
        bind_contextvars(tenant_id=sent.tenant.tenant_id)
        yield sent


def _parse_job_id(text: str) -> int | None:
    """Return the job id in `text`, or None if it cannot be a valid id."""
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(LARGEST_ID)):
        return None
    number = int(text)
    return number if number <= LARGEST_ID else None


def _respond(
    request: Request, body: dict[str, object], headers: Mapping[str, str] | None = None
) -> Response:
    note_outcome(request, str(body["status"]))
    return json_response(body, headers=headers)
