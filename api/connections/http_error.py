"""Errors of HTTP itself, to which the server responds without calling the application."""

from http import HTTPStatus
from typing import Final

import orjson

Headers = list[tuple[bytes, bytes]]

RETRY_SECONDS: Final = 1


class HttpError(Exception):
    """A request, or its pace, that the server does not accept.

    `reason` is the label of the metric and of the log line. `message` is sent to the client.
    """

    def __init__(self, status: HTTPStatus, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


def malformed(detail: str) -> HttpError:
    """Return the error for a request that is not valid HTTP/1.1."""
    return HttpError(
        HTTPStatus.BAD_REQUEST, "malformed", f"The request is not valid HTTP: {detail}."
    )


def render_response(error: HttpError, default_headers: Headers) -> bytes:
    """Return the bytes of the response to `error`, which announces that the connection closes."""
    body = orjson.dumps({"status": "error", "message": error.message})
    headers = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if error.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers.append((b"retry-after", b"%d" % RETRY_SECONDS))
    status_line = f"HTTP/1.1 {error.status.value} {error.status.phrase}\r\n".encode()
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([status_line, *lines, b"\r\n", body])
