"""Middleware for the access log, request metrics, and the response to unexpected errors."""

from functools import cache
from typing import Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.body.json_response import TRACE, RequestTrace
from api.errors.api_error import ErrorRenderer
from api.errors.handlers import internal_error
from api.metrics import REQUEST_SECONDS, REQUESTS
from common.runtime.clock import monotonic

# Requested every few seconds by machines, so they are logged at debug level only.
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger(__name__)


class AccessLogMiddleware:
    """Middleware that logs and measures requests, and responds with 500 to unexpected errors.

    It is pure ASGI middleware, because Starlette's base class would add a task per request.
    """

    def __init__(self, app: ASGIApp, render_error: ErrorRenderer) -> None:
        self._app = app
        self._render_error = render_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request, log and measure it, and respond with 500 if it raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = monotonic()
        trace = scope[TRACE] = RequestTrace()
        status = 0

        async def send_and_watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_watch)
        except Exception:
            log.exception("request_crashed", path=scope["path"])
            if status:
                raise  # half of the response is sent; the server closes the connection
            response = self._render_error(scope["path"], internal_error())
            await response(scope, receive, send_and_watch)
        finally:
            _record_request(scope, trace.outcome or str(status), status, monotonic() - begun)


@cache  # a few dozen pairs of our own words; a look-up by labels is slower than counting
def _metrics_of(route: str, outcome: str) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, outcome), REQUEST_SECONDS.labels(route)


def _record_request(scope: Scope, outcome: str, status: int, seconds: float) -> None:
    # Only our own routes become labels, never a path that a caller made up.
    route = getattr(scope.get("route"), "path", "unknown")
    requests, durations = _metrics_of(route, outcome)
    requests.inc()
    durations.observe(seconds)
    write = log.debug if route in PROBES else log.info
    write(
        "response_sent",
        method=scope["method"],
        route=route,
        status=status,
        outcome=outcome,
        milliseconds=round(seconds * 1000, 1),
    )
