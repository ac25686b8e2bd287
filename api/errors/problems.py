"""Which problem an error is told as."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.errors.api_errors import ApiError, OverLimitError
from api.errors.problem_details import pointer, tell
from api.errors.problem_errors import (
    BrokenJsonError,
    FieldProblem,
    InvalidFieldsError,
    ProblemError,
)
from common.domain.errors import (
    ConflictError,
    InvalidLimitsError,
    InvalidNameError,
    InvalidPeriodError,
    InvalidValueError,
    NotFoundError,
)

Answer = Callable[[Request, Any], Awaitable[Response]]

METHOD_NOT_ALLOWED: Final = 405
TOO_MANY: Final = 429
BAD: Final = InvalidFieldsError.status


async def of_problem(request: Request, error: ProblemError) -> Response:
    """Tell why the request was turned away."""
    return tell(
        request,
        error.status,
        error.code,
        error.message,
        errors=error.errors,
        headers=error.headers,
    )


async def of_refusal(request: Request, error: ApiError) -> Response:
    """Tell of a body that cannot be read, or of a limit; v3 speaks of those with 200."""
    if isinstance(error, OverLimitError):
        return tell(request, TOO_MANY, error.code, error.tips, headers=error.headers)
    status = error.http_status if error.http_status > BrokenJsonError.status else 400
    return tell(request, status, error.code, error.message)


async def of_http(request: Request, error: HTTPException) -> Response:
    """Tell that there is no such address, or what can be done at it."""
    if error.status_code == METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(_methods(request)))
        return tell(
            request,
            METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"This address takes {allowed}.",
            headers={"allow": allowed},
        )
    return tell(request, 404, "not_found", "There is nothing at this address.")


async def of_parameters(request: Request, error: RequestValidationError) -> Response:
    """Tell which parameters cannot be."""
    errors = [{"parameter": str(told["loc"][-1]), "detail": _said(told)} for told in error.errors()]
    return await of_problem(request, InvalidFieldsError(errors))


async def of_absence(request: Request, headers: Mapping[str, str]) -> Response:
    """Tell that Postgres cannot be reached."""
    detail = "The database cannot be reached for the moment; try again in a few seconds."
    return tell(request, 503, "database_unavailable", detail, headers=headers)


async def _not_found(request: Request, error: NotFoundError) -> Response:
    return tell(request, 404, error.code, error.message)


async def _conflict(request: Request, error: ConflictError) -> Response:
    return tell(request, 409, error.code, error.message)


async def _name(request: Request, error: InvalidNameError) -> Response:
    return _bad(request, error, {"pointer": pointer("name"), "detail": error.message})


async def _limits(request: Request, error: InvalidLimitsError) -> Response:
    told = error.problems.items()
    errors = [{"pointer": pointer("limits", name), "detail": problem} for name, problem in told]
    return _bad(request, error, *errors)


async def _period(request: Request, error: InvalidPeriodError) -> Response:
    return _bad(request, error, {"parameter": "until", "detail": error.message})


async def _value(request: Request, error: InvalidValueError) -> Response:
    place = (
        {"parameter": error.field} if request.method == "GET" else {"pointer": pointer(error.field)}
    )
    return _bad(request, error, {**place, "detail": error.problem})


# What is raised on no other face.
OF_USE_CASES: Final[dict[type[Exception], Answer]] = {
    ProblemError: of_problem,
    NotFoundError: _not_found,
    ConflictError: _conflict,
    InvalidNameError: _name,
    InvalidLimitsError: _limits,
    InvalidPeriodError: _period,
    InvalidValueError: _value,
}


def _bad(request: Request, error: Any, *errors: FieldProblem) -> Response:
    return tell(request, BAD, error.code, error.message, errors=errors)


def _said(told: Mapping[str, Any]) -> str:
    if told["type"] == "extra_forbidden":
        return "is no parameter of this address"
    return str(told["msg"])


def _methods(request: Request) -> set[str]:
    """Give what can be done at this address: each method has a route of its own."""
    return {
        method
        for route in request.app.router.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
