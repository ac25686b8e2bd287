"""Security headers of all responses.

They follow the OWASP REST Security Cheat Sheet. `Strict-Transport-Security` belongs to the
proxy that terminates TLS, since the gateway does not know whether its callers use https.
"""

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.documentation.page import PAGE_PATH

_EVERYWHERE: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
# A browser that opens such a response as a page runs and loads nothing.
_DATA: Final = "default-src 'none'; frame-ancestors 'none'"
# The icons in the style sheet of Swagger UI are `data:` URIs.
_PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class SecurityHeadersMiddleware:
    """Middleware that adds security headers to every response.

    Responses may contain keys and private links, so caches may store only those that allow it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request, and add the headers when its response starts."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_EVERYWHERE)
                headers["content-security-policy"] = _policy_for(scope["path"])
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _policy_for(path: str) -> str:
    is_page = path == PAGE_PATH or path.startswith(f"{PAGE_PATH}/")
    return _PAGE if is_page else _DATA
