"""Bodies: small JSON documents, read once the caller was let in."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.body.request_body import read_body
from api.errors.problem_details import pointer
from api.errors.problem_errors import (
    BrokenJsonError,
    FieldProblem,
    InvalidFieldsError,
    NotJsonError,
)

MAX_BYTES: Final = 100_000


class JsonDocument(BaseModel):
    """A body; a field that we do not know is an error, since it was meant to do something."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


D = TypeVar("D", bound=JsonDocument)


def json_body_after(
    entrance: Callable[..., Awaitable[object]], kind: type[D]
) -> Callable[[Request, object], Awaitable[D]]:
    """Give the dependency that reads a body of that kind after `entrance` let its sender in."""

    async def read(request: Request, _admitted: Annotated[object, Depends(entrance)]) -> D:
        body = await read_body(request, MAX_BYTES)
        content_type = request.headers.get("content-type", "application/json")
        if body and content_type.partition(";")[0].strip().lower() != "application/json":
            raise NotJsonError
        try:
            return kind.model_validate_json(body.strip() or b"{}")
        except ValidationError as error:
            raise _told(kind, error) from error

    return read


def _told(kind: type[JsonDocument], error: ValidationError) -> BrokenJsonError | InvalidFieldsError:
    problems = error.errors(include_url=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return BrokenJsonError(str(problems[0]["msg"]))
    return InvalidFieldsError([_problem(kind, problem) for problem in problems])


def _problem(kind: type[JsonDocument], problem: Mapping[str, Any]) -> FieldProblem:
    match problem["type"]:
        case "extra_forbidden":
            detail = f"is no field here; there are: {', '.join(kind.model_fields)}"
        case "missing":
            detail = "is required"
        case _:
            detail = problem["msg"]
    return {"pointer": pointer(*problem["loc"]), "detail": detail}
