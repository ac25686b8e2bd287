"""Build the ASGI application of the gateway; `api.server` serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from api import health
from api.admin import routes as admin
from api.admin.dependencies import PREFIX as ADMIN_PREFIX
from api.dialects.v1 import jobs, webhook_keys, webhooks
from api.dialects.v1.dependencies import PREFIX as V1_PREFIX
from api.dialects.v3 import routes as v3
from api.dialects.v3.errors import render_error
from api.errors.handlers import ErrorRenderers, add_error_handlers
from api.errors.problem_details import render_problem
from api.middleware import AccessLogMiddleware
from api.services import open_services
from common.domain.errors import ConfigurationError
from common.outbound import Guard
from common.runtime.logging import configure_logging
from common.settings import Settings
from common.settings.catalogue import Catalogue, load_catalogue

RENDERERS: Final = ErrorRenderers(
    {V1_PREFIX: render_problem, ADMIN_PREFIX: render_problem}, default=render_error
)

log = structlog.get_logger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the ASGI application of the gateway.

    Without `settings`, read them from the environment, configure logging, and end the process with
    a message instead of a traceback if a setting is invalid.
    """
    if settings is not None:
        return _build(settings, _load_checked(settings))
    settings = Settings()
    try:
        configure_logging(settings.telemetry, process="gateway")
        catalogue = _load_checked(settings)
    except ConfigurationError as error:
        raise SystemExit(f"infill gateway: {error.message}") from None
    return _build(settings, catalogue)


def _load_checked(settings: Settings) -> Catalogue:
    """Check all settings, so that errors appear at startup, and return the model catalogue.

    Raises:
        ConfigurationError: a setting, the models file or the signing key is missing or invalid.
    """
    _ = (settings.database, settings.redis, settings.storage, settings.jobs)
    _ = (settings.gateway, settings.http)
    settings.gateway.require_pepper()
    webhook_keys.published_keys(settings.webhooks)
    Guard(settings.outbound)
    return load_catalogue(settings.models)


def _build(settings: Settings, catalogue: Catalogue) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, catalogue) as services:
            app.state.services = services
            log.info("gateway_started", models=[entry.name for entry in catalogue.entries])
            yield
        log.info("gateway_stopped")

    app = FastAPI(
        title="Infill",
        version=version("infill"),
        summary="Self-hosted diffusion inpainting, compatible with the Stable Diffusion API v3.",
        lifespan=lifespan,
        # A redirect would name the host of the request, which is wrong behind a proxy.
        redirect_slashes=False,
    )
    # Not `include_router`: it matches every request twice, prefix first. Placed before the routes
    # of the documentation, because routes are tried in order.
    app.router.routes[:0] = [
        route
        for part in (v3, webhooks, jobs, health, webhook_keys, admin)
        for route in part.router.routes
    ]
    app.state.settings = settings
    app.add_middleware(AccessLogMiddleware, render_error=RENDERERS.render)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "RateLimit", "RateLimit-Policy"],
    )
    add_error_handlers(app, RENDERERS)
    app.router.routes.insert(0, _document_route(app))
    return app


def _document_route(app: FastAPI) -> Route:
    """Return the route of the OpenAPI document, which is rendered once.

    FastAPI renders it for each request, which blocks the event loop for 8 ms.
    """

    @cache
    def render() -> bytes:
        return orjson.dumps(app.openapi())

    async def respond(_request: Request) -> Response:
        return Response(render(), media_type="application/json")

    return Route("/openapi.json", respond, include_in_schema=False)
