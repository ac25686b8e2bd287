"""Build the ASGI application of the gateway; `api.server` serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

import structlog
from fastapi import FastAPI

from api import health
from api.admin import routes as admin
from api.admin.dependencies import PREFIX as ADMIN_PREFIX
from api.browsers.cors import TenantCorsMiddleware
from api.browsers.security_headers import SecurityHeadersMiddleware
from api.dialects.openai import routes as openai
from api.dialects.openai.errors import render_error as render_openai_error
from api.dialects.v1 import jobs, webhook_keys, webhooks
from api.dialects.v1.dependencies import PREFIX as V1_PREFIX
from api.dialects.v3 import routes as v3
from api.dialects.v3.errors import render_error
from api.documentation import page
from api.documentation.document import DocumentedApp
from api.errors.handlers import ErrorRenderers, add_error_handlers
from api.errors.problem_details import render_problem
from api.middleware import AccessLogMiddleware
from api.services import open_services
from common.domain.errors import ConfigurationError
from common.outbound import Guard
from common.runtime.logging import configure_logging
from common.settings import Settings
from common.settings.catalogue import Catalogue, load_catalogue

V3_PREFIX: Final = v3.router.prefix
RENDERERS: Final = ErrorRenderers(
    {
        V1_PREFIX: render_problem,
        ADMIN_PREFIX: render_problem,
        **dict.fromkeys(openai.PREFIXES, render_openai_error),
    },
    default=render_error,
)
# The dialects that the settings select; the native API is always served.
DIALECTS: Final = {"v3": v3, "openai": openai}

log = structlog.get_logger(__name__)


def create_app(settings: Settings | None = None) -> DocumentedApp:
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


def _build(settings: Settings, catalogue: Catalogue) -> DocumentedApp:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, catalogue) as services:
            app.state.services = services
            log.info("gateway_started", models=[entry.name for entry in catalogue.entries])
            yield
        log.info("gateway_stopped")

    app = DocumentedApp(
        title="Infill",
        version=version("infill"),
        summary="Self-hosted diffusion inpainting, compatible with the Stable Diffusion API v3.",
        lifespan=lifespan,
        # FastAPI renders the document for each request, which blocks the event loop for 8 ms.
        openapi_url=None,
        # These pages of FastAPI's load their scripts from another server.
        docs_url=None,
        redoc_url=None,
        # A redirect would name the host of the request, which is wrong behind a proxy.
        redirect_slashes=False,
    )
    dialects = [DIALECTS[name] for name in settings.gateway.dialects]
    # Not `include_router`: it matches every request twice, prefix first. Placed before the routes
    # of the documentation, because routes are tried in order.
    app.router.routes[:0] = [
        route
        for part in (*dialects, webhooks, jobs, health, webhook_keys, admin, page)
        for route in part.router.routes
    ]
    app.state.settings = settings
    app.add_middleware(AccessLogMiddleware, render_error=RENDERERS.render)
    tenant_prefixes = (V3_PREFIX, V1_PREFIX, *openai.PREFIXES)
    app.add_middleware(
        TenantCorsMiddleware, prefixes=tuple(f"{prefix}/" for prefix in tenant_prefixes)
    )
    app.add_middleware(SecurityHeadersMiddleware)
    add_error_handlers(app, RENDERERS)
    return app
