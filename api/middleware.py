"""One log line and two numbers for every request; and an answer for those that crashed."""

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

# Asked every few seconds by machines; said only where somebody wants every detail.
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger(__name__)


class AccessLogMiddleware:
    """A plain ASGI middleware: Starlette's convenient base class costs a task per request."""

    def __init__(self, app: ASGIApp, render_error: ErrorRenderer) -> None:
        self._app = app
        self._render_error = render_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and tell how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = monotonic()
        trace = scope[TRACE] = RequestTrace()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            log.exception("request_crashed", path=scope["path"])
            if status:
                raise  # half an answer is out; the server closes the connection
            response = self._render_error(scope["path"], internal_error())
            await response(scope, receive, watch)
        finally:
            _tell(scope, trace.outcome or str(status), status, monotonic() - begun)


@cache  # our own words, a few dozen pairs; to find a number by its labels takes longer than to add
def _numbers(route: str, outcome: str) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, outcome), REQUEST_SECONDS.labels(route)


def _tell(scope: Scope, outcome: str, status: int, seconds: float) -> None:
    # Labels are our own routes: a caller's made-up path never becomes one.
    route = getattr(scope.get("route"), "path", "unknown")
    answered, lasted = _numbers(route, outcome)
    answered.inc()
    lasted.observe(seconds)
    tell = log.debug if route in PROBES else log.info
    tell(
        "request_answered",
        method=scope["method"],
        route=route,
        status=status,
        outcome=outcome,
        milliseconds=round(seconds * 1000, 1),
    )
