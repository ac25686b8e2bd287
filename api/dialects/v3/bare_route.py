"""A FastAPI route that calls its endpoint directly, for speed."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class BareRoute(APIRoute):
    """A route whose endpoint gets the request and its path parameters, and reads all else itself.

    FastAPI's own handler parses bodies, validates parameters and resolves dependencies. v3 uses
    none of that, and skipping it saves a tenth of the time of a fetch.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that only awaits the endpoint."""
        endpoint: Callable[..., Coroutine[Any, Any, Response]] = self.endpoint

        async def handle(request: Request) -> Response:
            path: dict[str, Any] = request.path_params
            return await endpoint(request, **path)

        return handle
