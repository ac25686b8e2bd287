"""CORS (requests of scripts from other origins) for the APIs of tenants alone."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class TenantCorsMiddleware(CORSMiddleware):
    """Middleware for CORS on the paths that start with one of `prefixes`.

    Any origin may call the tenants' APIs, which accept keys in headers and bodies but no cookies.
    Responses for other paths have no CORS headers, so scripts of other origins cannot read them.
    """

    def __init__(self, app: ASGIApp, prefixes: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=["*"],
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "RateLimit", "RateLimit-Policy"],
        )
        self._prefixes = prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request, with CORS if its path starts with one of the prefixes."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefixes):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)
