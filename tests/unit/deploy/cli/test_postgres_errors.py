"""An unavailable Postgres is explained to the operator; other errors stay tracebacks."""

import asyncpg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from common.domain.errors import ConfigurationError
from common.postgres.errors import PostgresConnectionError, PostgresTimeoutError
from deploy.cli.postgres_errors import explain_postgres_errors


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (PostgresConnectionError("refused"), "refused"),
        (PostgresTimeoutError(), "PostgresTimeoutError"),
        (
            OperationalError("SELECT 1", None, asyncpg.CannotConnectNowError("starting up")),
            "CannotConnectNowError",
        ),
    ],
)
def test_an_unavailable_postgres_is_explained(error: Exception, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught, explain_postgres_errors():
        raise error
    assert "INFILL_DATABASE_URL" in caught.value.message


def test_a_programming_error_is_raised_unchanged() -> None:
    mistake = ProgrammingError("SELEC 1", None, asyncpg.PostgresSyntaxError("syntax"))
    with pytest.raises(ProgrammingError), explain_postgres_errors():
        raise mistake


def test_a_block_without_an_error_is_unaffected() -> None:
    with explain_postgres_errors():
        pass
