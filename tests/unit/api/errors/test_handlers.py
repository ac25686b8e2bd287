"""Every exception becomes an ApiError, rendered in the dialect of the request's path."""

import errno
from typing import Any

import asyncpg
import orjson
import pytest
from asyncpg import InterfaceError, InternalClientError
from asyncpg.exceptions import CannotConnectNowError
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api.app import RENDERERS
from api.dialects.v3.errors import render_error
from api.errors.api_error import (
    ApiError,
    BodyTooLargeError,
    FieldError,
    InvalidFieldsError,
    MalformedBodyError,
    RateExceededError,
    UnavailableError,
    UnsupportedMediaTypeError,
    WrongKeyError,
)
from api.errors.handlers import add_error_handlers, internal_error
from api.errors.problem_details import render_problem
from api.limits.headers import RateLimitSnapshot
from common.domain.api_key import KeyKind
from common.postgres.errors import (
    PostgresConnectionError,
    PostgresTimeoutError,
    ResponseLostError,
    ResponseTimeoutError,
)

SUBMIT_AGAIN = (
    "Retry in a few seconds. If the first request had an `Idempotency-Key`, repeat it with the "
    "same key: if the first request created a job, that job is returned instead of a second one."
)
SNAPSHOT = RateLimitSnapshot("requests", 60, 0, 3)


async def fetch(path: str, error: Exception) -> Response:
    """Return the response of a route at `path` that raises `error`."""
    app = FastAPI()
    add_error_handlers(app, RENDERERS)

    @app.get(path)
    async def fail() -> None:
        raise error

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    "error",
    [
        PostgresConnectionError("connection refused"),
        PostgresTimeoutError("no connection became free"),
        PoolTimeoutError("no connection became free"),
        CannotConnectNowError("starting up"),
        InterfaceError("the connection is closed"),
        # The driver's error for a connection closed by its server while it was idle.
        InternalClientError("another operation is in progress"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_unavailable_postgres_is_a_503(error: Exception) -> None:
    response = await fetch("/api/v3/inpaint", error)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["status"] == "error"
    assert response.json()["tip"] == SUBMIT_AGAIN
    fetched = await fetch("/api/v3/fetch/1", error)
    assert fetched.json()["tip"] == "Retry in a few seconds."


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        TimeoutError(),
        ConnectionResetError(),
        asyncpg.DataError("value out of int32 range"),
        asyncpg.NumericValueOutOfRangeError("smallint out of range"),
        asyncpg.exceptions._base.DataError("invalid input for query argument $1"),
        asyncpg.InternalServerError("cache lookup failed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_other_errors_are_not_taken_for_an_unavailable_postgres(error: Exception) -> None:
    """The middleware responds with 500 to what the handlers raise, and logs the traceback."""
    with pytest.raises(type(error)):
        await fetch("/api/v1/jobs", error)


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (asyncpg.SerializationError("x"), "database_busy", "nothing was changed"),
        (asyncpg.DeadlockDetectedError("x"), "database_busy", "nothing was changed"),
        (ResponseLostError(), "database_unavailable", "may have been saved"),
        (ResponseTimeoutError(), "database_unavailable", "may have been saved"),
        (asyncpg.ConnectionDoesNotExistError("x"), "database_unavailable", "may have been saved"),
        (asyncpg.UndefinedTableError("x"), "database_not_migrated", "`infill migrate`"),
        (
            ProgrammingError("SELECT 1", None, asyncpg.UndefinedColumnError("x")),
            *("database_not_migrated", "`infill migrate`"),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_the_cause_is_named(error: Exception, code: str, part: str) -> None:
    response = await fetch("/api/v1/jobs", error)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.json()["type"] == f"urn:infill:problem:{code}"
    assert part in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "is_problem"),
    [
        ("/api/v1", True),
        ("/api/v1/jobs", True),
        ("/admin/v1/x", True),
        ("/api/v10", False),
        ("/api/v3/fetch/1", False),
        ("/", False),
    ],
)
async def test_the_path_decides_the_dialect(path: str, *, is_problem: bool) -> None:
    response = await fetch(path, MalformedBodyError("broken at line 1"))
    assert (response.headers["content-type"] == "application/problem+json") == is_problem
    assert response.status_code == (400 if is_problem else 200)


@pytest.mark.parametrize(
    ("error", "status", "message", "more"),
    [
        (MalformedBodyError("broken"), 200, "Invalid API Request", {"tip": "broken"}),
        (RateExceededError(SNAPSHOT), 200, "Rate limit exceeded", {"tips": ...}),
        (WrongKeyError(), 200, "Invalid Api Key", {"tip": ...}),
        (BodyTooLargeError(9), 413, "The request body is larger than 9 bytes.", {"tip": ...}),
        (
            UnsupportedMediaTypeError("a/b", "c/d", "e/f"),
            *(415, "This content type is not supported.", {"tip": "Send a/b, c/d or e/f."}),
        ),
        (
            InvalidFieldsError([FieldError(("a",), "x"), FieldError(("a",), "y")]),
            *(200, {"a": ["x", "y"]}, {}),
        ),
        (ApiError("no model", code="unsupported_request", status=422), 200, "no model", {}),
        (ApiError("gone", code="not_found", status=404), 404, "Not Found", {"tip": "gone"}),
        (
            UnavailableError("unavailable", code="database_unavailable"),
            503,
            "unavailable",
            {"tip": SUBMIT_AGAIN},
        ),
        (
            internal_error(),
            500,
            "The request failed because of an error in this service.",
            {"tip": "The error has been logged; try again later."},
        ),
    ],
    ids=lambda value: value.code if isinstance(value, ApiError) else "",
)
def test_errors_are_rendered_as_v3_bodies(
    error: ApiError, status: int, message: Any, more: dict[str, Any]
) -> None:
    response = render_error("/api/v3/inpaint", error)
    body = orjson.loads(bytes(response.body))
    assert response.status_code == status
    assert (body.pop("status"), body.pop("message"), body.pop("messege")) == (
        *("error", message),
        message,
    )
    assert body.keys() == more.keys()
    assert all(body[name] == value for name, value in more.items() if value is not ...)
    assert "www-authenticate" not in response.headers


def test_errors_are_rendered_as_problem_bodies() -> None:
    response = render_problem("/admin/v1/ä", WrongKeyError(KeyKind.ADMIN))
    assert response.headers["www-authenticate"] == "Bearer"
    assert orjson.loads(bytes(response.body)) == {
        "type": "urn:infill:problem:wrong_admin_key",
        "title": "Missing or invalid key",
        "status": 401,
        "detail": "Send a valid admin key as `Authorization: Bearer …`. Keys start with `adm_`.",
        "instance": "/admin/v1/%C3%A4",
    }
    fields = [FieldError(("limits", "a/b"), "x"), FieldError(("until",), "y", "parameter")]
    problem = orjson.loads(bytes(render_problem("/", InvalidFieldsError(fields)).body))
    assert problem["errors"] == [
        {"pointer": "#/limits/a~1b", "detail": "x"},
        {"parameter": "until", "detail": "y"},
    ]
