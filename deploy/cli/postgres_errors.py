"""Readable errors for the operator when a command cannot use the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.domain.errors import ConfigurationError
from common.postgres.errors import (
    PostgresRejectedError,
    describe_cause,
    is_unavailable,
    is_wrong_schema,
)


@contextmanager
def explain_postgres_errors() -> Iterator[None]:
    """Raise an error with a hint if the block fails because the database cannot be used.

    Raises:
        ConfigurationError: Postgres could not be reached, or its schema is not that of this
            release; other errors are raised unchanged.
    """
    try:
        yield
    except PostgresRejectedError as error:
        raise ConfigurationError(f"the database cannot be used: {error}") from error
    except Exception as error:
        if is_wrong_schema(error):
            raise ConfigurationError(
                "the database does not have the schema of this release: run `infill migrate`"
            ) from error
        if not is_unavailable(error):
            raise
        raise ConfigurationError(
            f"Postgres cannot be reached ({describe_cause(error)}): "
            "check that it runs, and that INFILL_DATABASE_URL is its address"
        ) from error
