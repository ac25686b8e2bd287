"""Read the idempotency key of a request, and compute the digest that identifies its content."""

import hashlib
import json
from typing import Any, Final

from starlette.requests import Request

from api.body.receiving.spool import LongValue
from api.errors.api_error import FieldError, InvalidFieldsError, MalformedBodyError

MAX_IDEMPOTENCY_KEY: Final = 255


def read_idempotency_key(request: Request) -> str | None:
    """Return the `Idempotency-Key` header, or None; requests with the same key share one job.

    Raises:
        InvalidFieldsError: the key is empty, too long, or has characters other than visible ASCII.
    """
    key = request.headers.get("idempotency-key")
    if key is None or (0 < len(key) <= MAX_IDEMPOTENCY_KEY and _is_visible(key)):
        return key
    detail = f"The Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters."
    raise InvalidFieldsError([FieldError(("Idempotency-Key",), detail, "parameter")])


def request_digest_of(endpoint: str, fields: dict[str, Any]) -> bytes:
    """Return the SHA-256 of the endpoint and the fields, ignoring field order and the API key.

    Raises:
        MalformedBodyError: a field is nested too deeply to be serialized.
    """
    requested = {name: value for name, value in fields.items() if name != "key"}
    try:
        serialized = json.dumps([endpoint, requested], sort_keys=True, default=_digest_of_file)
    except RecursionError as error:
        # The JSON parser reads deeper nesting than this; unknown fields get here unvalidated.
        raise MalformedBodyError("The JSON is nested too deeply.") from error
    return hashlib.sha256(serialized.encode()).digest()


def _digest_of_file(content: bytes | LongValue) -> str:
    digest = hashlib.sha256()
    for block in content.raw_blocks() if isinstance(content, LongValue) else (content,):
        digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
