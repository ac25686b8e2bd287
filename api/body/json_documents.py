"""JSON request bodies of the native API and the admin API, parsed after authentication."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from api.body.receiving.headers import BodyFormat
from api.body.receiving.receive import stream_body
from api.body.receiving.structure import UTF8_BOM, limits_for
from api.body.validation_errors import explain_problem
from api.errors.api_error import (
    ApiError,
    BodyTooLargeError,
    FieldError,
    InvalidFieldsError,
    MalformedBodyError,
    UnsupportedMediaTypeError,
)

MAX_BYTES: Final = 100_000


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError(
            "datetime_range", "must be in the years 1 to 9999 in UTC"
        ) from error


# A date and time with a time zone, converted to UTC, in which it can leave the calendar.
UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]


class JsonDocument(BaseModel):
    """Base class of JSON request bodies; unknown fields are rejected, so that typos are noticed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


D = TypeVar("D", bound=JsonDocument)


def json_body_after(
    authenticate: Callable[..., Awaitable[object]], kind: type[D]
) -> Callable[[Request, object], Awaitable[D]]:
    """Return a FastAPI dependency that runs `authenticate`, then parses the JSON body as `kind`.

    The dependency raises `UnsupportedMediaTypeError`, `BodyTooLargeError`, `MalformedBodyError`, or
    `InvalidFieldsError`, which names every invalid field.
    """

    async def read(request: Request, _context: Annotated[object, Depends(authenticate)]) -> D:
        body = await _read_bytes(request)
        content_type = request.headers.get("content-type", BodyFormat.JSON)
        if body and content_type.partition(";")[0].strip().lower() != BodyFormat.JSON:
            raise UnsupportedMediaTypeError(BodyFormat.JSON)
        try:
            return kind.model_validate_json(body.strip() or b"{}")
        except ValidationError as error:
            raise _to_api_error(kind, error) from error

    return read


async def _read_bytes(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BYTES:
        raise BodyTooLargeError(MAX_BYTES)
    limits = limits_for(BodyFormat.JSON)
    body = bytearray()
    async for piece in stream_body(request, MAX_BYTES):
        limits.feed(piece)
        body += piece
    return bytes(body).removeprefix(UTF8_BOM)


def _to_api_error(kind: type[JsonDocument], error: ValidationError) -> ApiError:
    problems = error.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return MalformedBodyError(str(problems[0]["msg"]))
    return InvalidFieldsError([_to_field_error(kind, problem) for problem in problems])


def _to_field_error(kind: type[JsonDocument], problem: Mapping[str, Any]) -> FieldError:
    match problem["type"]:
        case "extra_forbidden":
            detail = (
                f"is not a known field; the accepted fields are: {', '.join(kind.model_fields)}"
            )
        case _:
            detail = explain_problem(problem)
    return FieldError(problem["loc"], detail)
