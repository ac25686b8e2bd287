"""Requests as a server would hand them over."""

from starlette.requests import Request
from starlette.types import Message


def make_request(*chunks: bytes, **headers: str) -> Request:
    """Give a POST whose body comes in `chunks`; an empty list of them means it hangs up."""
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)
