"""A readable error for the operator when Postgres cannot be reached."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.domain.errors import ConfigurationError
from common.postgres.database import is_unavailable


@contextmanager
def explain_unreachable_postgres() -> Iterator[None]:
    """Raise an error with a hint if the block fails because Postgres cannot be reached.

    Raises:
        ConfigurationError: Postgres could not be reached; other errors are raised unchanged.
    """
    try:
        yield
    except Exception as error:
        if not is_unavailable(error):
            raise
        cause = getattr(error, "orig", None) or error
        raise ConfigurationError(
            f"Postgres cannot be reached ({type(cause).__name__}): "
            "check that it runs, and that INFILL_DATABASE_URL is its address"
        ) from error
