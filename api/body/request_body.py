"""The three ways a body comes: JSON, form-urlencoded and multipart; each gives the same fields."""

from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from api.body.json_errors import read_anyway
from api.errors.api_error import BodyTooLargeError, MalformedBodyError, UnsupportedMediaTypeError

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
CONTENT_TYPES: Final = (JSON, FORM, MULTIPART)

# What came, by name: JSON values, or text, or the bytes of an uploaded file.
Fields = dict[str, Any]

# Far more than the API has; a body of a million names is an attack.
MAX_FIELDS: Final = 200


async def read_fields(request: Request, max_bytes: int) -> Fields:
    """Read the body into its fields.

    Raises:
        BodyTooLargeError: it says it is, or is, larger than `max_bytes`.
        UnsupportedMediaTypeError: the content type is none of the three.
        MalformedBodyError: it cannot be read as what it says it is.
    """
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    body = await read_body(request, max_bytes)
    if kind == JSON or not kind:
        return _json(body)
    if kind == FORM:
        # curl -d '{…}' says it sends a form; no form field's name starts with a brace.
        return _json(body) if body.lstrip().startswith(b"{") else _form(body)
    if kind == MULTIPART:
        return await _multipart(request, body)
    raise UnsupportedMediaTypeError(*CONTENT_TYPES)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLargeError: it says it is, or is, larger than `max_bytes`.
        MalformedBodyError: it ended early.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise BodyTooLargeError(max_bytes)
            chunks.append(chunk)
    except ClientDisconnect as error:
        # Nobody reads this answer; it keeps a caller who hung up out of the error log.
        raise MalformedBodyError("The body ended early.") from error
    return b"".join(chunks)


def _json(body: bytes) -> Fields:
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = read_anyway(body)
    if not isinstance(value, dict):
        raise MalformedBodyError("The body must be a JSON object: { … }.")
    return value


def _form(body: bytes) -> Fields:
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except UnicodeDecodeError as error:
        raise MalformedBodyError("The form is not UTF-8 text.") from error
    except ValueError as error:
        raise MalformedBodyError(f"The form has more than {MAX_FIELDS} fields.") from error
    return dict(pairs)


async def _multipart(request: Request, body: bytes) -> Fields:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers,
        whole(),
        max_files=MAX_FIELDS,
        max_fields=MAX_FIELDS,
        # The whole body has been measured already.
        max_part_size=len(body),
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"The multipart body cannot be read: {error.message}") from error
    if body and not _is_closed(request.headers["content-type"], body):
        # The parser leaves out the part that was cut off, and says nothing.
        raise MalformedBodyError("The multipart body ends early: it has no closing boundary.")
    try:
        return {name: await _part(value) for name, value in form.multi_items()}
    finally:
        await form.close()


def _is_closed(content_type: str, body: bytes) -> bool:
    boundary = parse_options_header(content_type)[1][b"boundary"]
    return body.rfind(b"--" + boundary + b"--") >= 0


async def _part(value: UploadFile | str) -> bytes | str:
    return await value.read() if isinstance(value, UploadFile) else value
