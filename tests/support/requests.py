"""Sample requests to the gateway: v3 bodies, and requests as the server passes them on."""

from typing import Any, Final

from starlette.requests import Request
from starlette.types import Message

IMAGE_URL: Final = "https://example.com/a.png"
# A valid body of each v3 endpoint, without the key.
INPAINT_BODY: Final[dict[str, Any]] = {
    "prompt": "a cat on a bench",
    "init_image": IMAGE_URL,
    "mask_image": IMAGE_URL,
}
IMG2IMG_BODY: Final[dict[str, Any]] = {"prompt": "a lake", "init_image": IMAGE_URL}
TEXT2IMG_BODY: Final[dict[str, Any]] = {"prompt": "a lake"}


def make_request(*chunks: bytes, **headers: str) -> Request:
    """Return a POST request whose body arrives in `chunks`; then the caller disconnects."""
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    return Request(scope, receive)
