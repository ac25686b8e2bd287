"""One request and its response, between a connection and the ASGI application."""

from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Exchange(RequestResponseCycle):
    """uvicorn's request and response, with a hook before the response begins.

    The hook decides whether the connection may stay open, which the response's headers announce.
    """

    def __init__(self, before_response: Callable[["Exchange"], None], **given: Any) -> None:
        super().__init__(**given)
        self._before_response = before_response

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response."""
        if not self.response_started:
            self._before_response(self)
        await super().send(message)
