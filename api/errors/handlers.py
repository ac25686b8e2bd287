"""Which answer an error gets: the only place that maps our errors to HTTP."""

from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.body.json_response import json_response, note_outcome
from api.errors import problems
from api.errors.api_errors import ApiError, error_body
from api.errors.dialects import uses_problem_details
from common.domain.errors import StorageUnavailableError, UnsupportedRequestError
from common.postgres.database import DATABASE_ERRORS, is_unavailable

UNAVAILABLE: Final = 503
RETRY_AFTER: Final = {"retry-after": "2"}
TRY_AGAIN: Final = "Nothing was recorded that you were not told of; try again in a few seconds."

log = structlog.get_logger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Give every error of ours, and of what we stand on, its answer."""
    app.add_exception_handler(ApiError, _by_face(_refused, problems.of_refusal))
    app.add_exception_handler(UnsupportedRequestError, _unsupported)
    app.add_exception_handler(StorageUnavailableError, _storage_away)
    for trouble in DATABASE_ERRORS:
        app.add_exception_handler(trouble, _database_away)
    app.add_exception_handler(HTTPException, _by_face(_of_http, problems.of_http))
    app.add_exception_handler(RequestValidationError, _by_face(_unreadable, problems.of_parameters))
    for kind, answer in problems.OF_USE_CASES.items():
        app.add_exception_handler(kind, answer)


def _by_face(of_v3: problems.Answer, of_others: problems.Answer) -> problems.Answer:
    async def answer(request: Request, error: Any) -> Response:
        told = of_others if uses_problem_details(request.url.path) else of_v3
        return await told(request, error)

    return answer


async def _refused(request: Request, error: Any) -> Response:
    note_outcome(request, error.code)
    return json_response(error.body(), status=error.http_status, headers=error.headers)


async def _unsupported(request: Request, error: Any) -> Response:
    note_outcome(request, error.code)
    return json_response(error_body(error.message))


async def _storage_away(request: Request, error: Any) -> Response:
    log.error("storage_unavailable", detail=error.detail)
    note_outcome(request, error.code)
    body = error_body("The image store cannot be reached for the moment.", tip=TRY_AGAIN)
    return json_response(body, status=UNAVAILABLE, headers=RETRY_AFTER)


async def _database_away(request: Request, error: Any) -> Response:
    if not is_unavailable(error):
        raise error  # a mistake of ours
    log.error("database_unavailable", error=type(error).__name__)
    if uses_problem_details(request.url.path):
        return await problems.of_absence(request, RETRY_AFTER)
    note_outcome(request, "database_unavailable")
    body = error_body("The database cannot be reached for the moment.", tip=TRY_AGAIN)
    return json_response(body, status=UNAVAILABLE, headers=RETRY_AFTER)


async def _of_http(_request: Request, error: Any) -> Response:
    return json_response(error_body(error.detail), status=error.status_code, headers=error.headers)


async def _unreadable(request: Request, error: Any) -> Response:
    note_outcome(request, "invalid_fields")
    fields = {".".join(map(str, told["loc"][1:])): [told["msg"]] for told in error.errors()}
    return json_response(error_body(fields), status=422)
