"""Convert every exception to an `ApiError`, and render it in the dialect of the request's path."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.body.json_response import note_outcome
from api.body.validation_errors import explain_problem
from api.errors.api_error import (
    ApiError,
    ErrorRenderer,
    FieldError,
    InvalidFieldsError,
    UnavailableError,
)
from common.domain.errors import (
    ConflictError,
    InvalidLimitsError,
    InvalidNameError,
    InvalidPeriodError,
    InvalidValueError,
    NotFoundError,
    StorageUnavailableError,
    UnsupportedRequestError,
)
from common.postgres.errors import (
    DATABASE_ERRORS,
    describe_cause,
    is_contention,
    is_unavailable,
    is_wrong_schema,
    may_have_committed,
)

Converter = Callable[[Request, Any], ApiError]

log = structlog.get_logger(__name__)


class ErrorRenderers:
    """Error renderers by path prefix, and a default renderer for all other paths."""

    def __init__(self, by_prefix: Mapping[str, ErrorRenderer], default: ErrorRenderer) -> None:
        self._by_prefix = by_prefix
        self._default = default

    def render(self, path: str, error: ApiError) -> Response:
        """Return the error response, rendered in the dialect that serves `path`."""
        for prefix, render in self._by_prefix.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return render(path, error)
        return self._default(path, error)


def add_error_handlers(app: FastAPI, renderers: ErrorRenderers) -> None:
    """Register a handler for each exception type in `_CONVERTERS`; middleware handles others."""
    for kind, convert in _CONVERTERS.items():
        app.add_exception_handler(kind, _handler(convert, renderers))


def internal_error() -> ApiError:
    """Return the error for a request that failed because of a defect in the gateway."""
    return ApiError(
        "The request failed because of an error in this service.",
        code="internal_error",
        status=500,
        tip="The error has been logged; try again later.",
    )


def _handler(convert: Converter, renderers: ErrorRenderers) -> Any:
    async def respond(request: Request, exception: Exception) -> Response:
        error = convert(request, exception)
        note_outcome(request, error.code)
        return renderers.render(request.url.path, error)

    return respond


def _keep(_request: Request, error: ApiError) -> ApiError:
    return error


def _from_unsupported(_request: Request, error: UnsupportedRequestError) -> ApiError:
    return ApiError(error.message, code=error.code, status=422)


def _from_not_found(_request: Request, error: NotFoundError) -> ApiError:
    return ApiError(error.message, code=error.code, status=404)


def _from_conflict(_request: Request, error: ConflictError) -> ApiError:
    return ApiError(error.message, code=error.code, status=409)


def _from_name(_request: Request, error: InvalidNameError) -> ApiError:
    return _invalid(error, FieldError(("name",), error.message))


def _from_limits(_request: Request, error: InvalidLimitsError) -> ApiError:
    return _invalid(
        error,
        *(FieldError(("limits", name), problem) for name, problem in error.problems.items()),
    )


def _from_period(_request: Request, error: InvalidPeriodError) -> ApiError:
    return _invalid(error, FieldError(("until",), error.message, "parameter"))


def _from_value(request: Request, error: InvalidValueError) -> ApiError:
    source: Any = "parameter" if request.method == "GET" else "body"
    return _invalid(error, FieldError((error.field,), error.problem, source))


def _invalid(error: Any, *field_errors: FieldError) -> ApiError:
    return ApiError(error.message, code=error.code, status=422, field_errors=field_errors)


def _from_parameters(request: Request, error: RequestValidationError) -> ApiError:
    return InvalidFieldsError(
        [
            FieldError((problem["loc"][-1],), _parameter_detail(request, problem), "parameter")
            for problem in error.errors()
        ]
    )


def _parameter_detail(request: Request, problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"is not a parameter of this path; the parameters are: {_parameters(request)}"
    return explain_problem(problem)


def _parameters(request: Request) -> str:
    """Return the names of the query parameters of the request's route."""
    route: APIRoute = request.scope["route"]
    models = [field.field_info.annotation for field in route.dependant.query_params]
    return ", ".join(name for model in models for name in getattr(model, "model_fields", ()))


def _from_http(request: Request, error: HTTPException) -> ApiError:
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_")
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        methods = sorted(_allowed_methods(request))
        message = f"This path accepts {' and '.join(methods)} only."
        headers = {"allow": ", ".join(methods)}
        return ApiError(message, code=code, status=status.value, headers=headers)
    found = status is not HTTPStatus.NOT_FOUND
    message = error.detail if found else "There is nothing at this path."
    return ApiError(message, code=code, status=status.value, headers=error.headers)


def _allowed_methods(request: Request) -> set[str]:
    """Return the HTTP methods that the routes at the request's path accept."""
    return {
        method
        for route in request.app.router.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


def _from_store(_request: Request, error: StorageUnavailableError) -> ApiError:
    log.error("storage_unavailable", detail=error.detail)
    return UnavailableError("The image store cannot be reached at the moment.", code=error.code)


def _from_database(_request: Request, error: Exception) -> ApiError:
    cause = describe_cause(error)
    if is_wrong_schema(error):
        log.error("database_not_migrated", error=str(error))
        return UnavailableError(
            "The database does not have the schema of this release: its operator has to run "
            "`infill migrate`.",
            code="database_not_migrated",
        )
    if not is_unavailable(error):
        raise error  # a defect: the middleware logs it and responds with 500
    if is_contention(error):
        log.error("database_contention", error=cause)
        return UnavailableError(
            "Other requests were changing the same data at the same time; nothing was changed.",
            code="database_busy",
        )
    log.error("database_unavailable", error=cause)
    if may_have_committed(error):
        return UnavailableError(
            "The database did not respond in time. If the request changes something, the change "
            "may have been saved.",
            code="database_unavailable",
        )
    return UnavailableError(
        "The database cannot be reached at the moment.", code="database_unavailable"
    )


_CONVERTERS: Final[dict[type[Exception], Converter]] = {
    ApiError: _keep,
    UnsupportedRequestError: _from_unsupported,
    NotFoundError: _from_not_found,
    ConflictError: _from_conflict,
    InvalidNameError: _from_name,
    InvalidLimitsError: _from_limits,
    InvalidPeriodError: _from_period,
    InvalidValueError: _from_value,
    RequestValidationError: _from_parameters,
    HTTPException: _from_http,
    StorageUnavailableError: _from_store,
    **dict.fromkeys(DATABASE_ERRORS, _from_database),
}
