"""Errors of Postgres, and the distinction between an outage, contention, and a defect."""

from types import TracebackType
from typing import Any, Final

from asyncpg import InterfaceError, InternalClientError, PostgresError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# SQLSTATE classes of a server that does not serve: connection, account, resources, operator
# intervention such as a shutdown or a statement's time-out, and the server's own system errors.
OUTAGE_CLASSES: Final = frozenset({"08", "28", "53", "57", "58"})
# A write to a server that is not, or no longer, the primary.
READ_ONLY: Final = "25006"
INSUFFICIENT_PRIVILEGE: Final = "42501"
NO_DATABASE: Final = "3D000"
LOCK_NOT_AVAILABLE: Final = "55P03"
# Serialization failure and deadlock: the transaction was rolled back, and a repeat may succeed.
CONTENTION: Final = frozenset({"40001", "40P01"})
# Undefined table, function and column: the schema is not the one of this release.
WRONG_SCHEMA: Final = frozenset({"42P01", "42883", "42703"})

_OUTAGE_STATES: Final = CONTENTION | {READ_ONLY, NO_DATABASE, LOCK_NOT_AVAILABLE}


class PostgresConnectionError(ConnectionError):
    """There is no connection to Postgres, so no statement was sent."""


class PostgresTimeoutError(PostgresConnectionError, TimeoutError):
    """No connection to Postgres became free, or could be opened, in time."""


class PostgresRejectedError(PostgresConnectionError):
    """Postgres responds, but its connections cannot be used; the text is a sentence for operators.

    Either row-level security is not in force on them, or a pooler does not keep their sessions.
    """


class ResponseLostError(PostgresConnectionError):
    """The connection broke after a statement was sent, so a change may have been committed."""


class ResponseTimeoutError(ResponseLostError, TimeoutError):
    """Postgres did not respond to a statement in time, so a change may have been committed."""


# Everything that database access raises; `is_unavailable` separates outages from our defects.
DATABASE_ERRORS: Final = (
    SQLAlchemyError,
    PostgresError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
)


class _NamedConnectionErrors:
    """Context manager that converts the system's connection errors to errors of Postgres.

    Without the conversion, nobody could tell an unreachable Postgres from a full disk, because both
    are an OSError.
    """

    def __init__(self, broken: type[OSError], late: type[OSError]) -> None:
        self._broken = broken
        self._late = late

    def __enter__(self) -> None:
        """Do nothing; only errors are converted."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, PostgresConnectionError):
            named = self._late if isinstance(error, TimeoutError) else self._broken
            raise named(str(error)) from error


CONNECTING: Final = _NamedConnectionErrors(PostgresConnectionError, PostgresTimeoutError)
EXECUTING: Final = _NamedConnectionErrors(ResponseLostError, ResponseTimeoutError)


def is_unavailable(error: Exception) -> bool:
    """Return whether `error` means that Postgres is down or overloaded, rather than a bug."""
    if isinstance(error, PostgresConnectionError | PoolTimeoutError):
        return True
    sqlstate = find_sqlstate(error)
    if sqlstate is not None:
        return sqlstate[:2] in OUTAGE_CLASSES or sqlstate in _OUTAGE_STATES
    cause = _driver_error(error)
    # The driver raises these for a closed connection, and an internal error if the server announces
    # its shutdown while no statement is running. It also raises an interface error for a value that
    # it cannot encode, which is then a ValueError.
    return isinstance(cause, InterfaceError | InternalClientError) and not isinstance(
        cause, ValueError
    )


def is_contention(error: Exception) -> bool:
    """Return whether Postgres rolled a transaction back because of others that ran beside it."""
    return find_sqlstate(error) in CONTENTION


def is_wrong_schema(error: Exception) -> bool:
    """Return whether a table, column or function is missing, as before `infill migrate`."""
    return find_sqlstate(error) in WRONG_SCHEMA


def may_have_committed(error: Exception) -> bool:
    """Return whether a statement may have been committed although `error` was raised."""
    return isinstance(error, ResponseLostError) or find_sqlstate(error) == "08003"


def describe_cause(error: BaseException | None) -> str:
    """Return the type and the text of the first cause; the driver's texts contain no password."""
    cause = (error.orig if isinstance(error, DBAPIError) else None) or error
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {cause}".removesuffix(": ")


def find_sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of the driver or of SQLAlchemy, or None if it has none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None)


def _driver_error(error: Exception) -> Any:
    """Return the driver's own error, which SQLAlchemy's adapter wraps twice."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error
