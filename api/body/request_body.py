"""Parse a request body as JSON, form-urlencoded or multipart into the same fields."""

from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from api.body.json_errors import read_lenient_json
from api.errors.api_error import BodyTooLargeError, MalformedBodyError, UnsupportedMediaTypeError

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
CONTENT_TYPES: Final = (JSON, FORM, MULTIPART)

# Values by field name: of JSON, text of forms, or the bytes of an uploaded file.
Fields = dict[str, Any]

# Far more than the API has; a body with a million fields is an attack.
MAX_FIELDS: Final = 200


async def read_fields(request: Request, max_bytes: int) -> Fields:
    """Return the fields of the request body, by name.

    Raises:
        BodyTooLargeError: the body, or its declared length, exceeds `max_bytes`.
        UnsupportedMediaTypeError: the content type is not JSON, form-urlencoded or multipart.
        MalformedBodyError: the body cannot be parsed as its content type.
    """
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    body = await read_body(request, max_bytes)
    if kind == JSON or not kind:
        return _parse_json(body)
    if kind == FORM:
        # curl -d '{…}' declares a form; no name of a form field starts with a brace.
        return _parse_json(body) if body.lstrip().startswith(b"{") else _parse_form(body)
    if kind == MULTIPART:
        return await _parse_multipart(request, body)
    raise UnsupportedMediaTypeError(*CONTENT_TYPES)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return all bytes of the request body.

    Raises:
        BodyTooLargeError: the body, or its declared length, exceeds `max_bytes`.
        MalformedBodyError: the caller disconnected before the end of the body.
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
        # Nobody reads this response, but it keeps disconnected callers out of the error log.
        raise MalformedBodyError("The connection closed before the body was complete.") from error
    return b"".join(chunks)


def _parse_json(body: bytes) -> Fields:
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = read_lenient_json(body)
    if not isinstance(value, dict):
        raise MalformedBodyError("The body must be a JSON object: { … }.")
    return value


def _parse_form(body: bytes) -> Fields:
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except UnicodeDecodeError as error:
        raise MalformedBodyError("The form is not UTF-8 text.") from error
    except ValueError as error:
        raise MalformedBodyError(f"The form has more than {MAX_FIELDS} fields.") from error
    return dict(pairs)


async def _parse_multipart(request: Request, body: bytes) -> Fields:
    async def body_stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers,
        body_stream(),
        max_files=MAX_FIELDS,
        max_fields=MAX_FIELDS,
        # The size of the whole body has been checked already.
        max_part_size=len(body),
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"The multipart body cannot be read: {error.message}") from error
    if body and not _has_closing_boundary(request.headers["content-type"], body):
        # The parser silently omits the part that was cut off.
        raise MalformedBodyError("The multipart body ends early: it has no closing boundary.")
    try:
        return {name: await _part_value(value) for name, value in form.multi_items()}
    finally:
        await form.close()


def _has_closing_boundary(content_type: str, body: bytes) -> bool:
    boundary = parse_options_header(content_type)[1][b"boundary"]
    return body.rfind(b"--" + boundary + b"--") >= 0


async def _part_value(value: UploadFile | str) -> bytes | str:
    return await value.read() if isinstance(value, UploadFile) else value
