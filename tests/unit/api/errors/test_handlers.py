"""Trouble on the way to Postgres becomes an answer that says when to come again."""

import pytest
from asyncpg import InterfaceError, InternalClientError
from asyncpg.exceptions import CannotConnectNowError
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api.errors.handlers import add_error_handlers


@pytest.mark.parametrize(
    "trouble",
    [
        ConnectionRefusedError("nobody there"),
        TimeoutError("no answer"),
        PoolTimeoutError("no connection became free"),
        CannotConnectNowError("starting up"),
        InterfaceError("the connection is closed"),
        # What the driver says of a connection whose server died while it was idle.
        InternalClientError("another operation is in progress"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_an_absent_postgres_is_a_503(trouble: Exception) -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    async def ask() -> None:
        raise trouble

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["status"] == "error"
