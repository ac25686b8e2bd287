"""Migrate a database's schema to the version of this release."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from common.domain.errors import ConfigurationError
from common.postgres.database import Database
from common.postgres.errors import (
    INSUFFICIENT_PRIVILEGE,
    LOCK_NOT_AVAILABLE,
    find_sqlstate,
    is_contention,
)
from common.runtime.clock import monotonic
from common.settings import DatabaseSettings
from deploy.cli.migration_locks import LockMonitor

# Advisory lock: one process migrates at a time; the others wait, and then find nothing to do.
MIGRATION_LOCK = 0x696E66696C6C  # "infill"

# Statements of the running processes queue behind a migration that waits for a lock, so each wait
# is short, and the pause after it lets them run.
LOCK_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 3.0
DEFAULT_WAIT_SECONDS: Final = 120.0

Report = Callable[[str], None]


def alembic_config(connection: Connection) -> Config:
    """Return alembic's configuration for the migrations of Infill, bound to `connection`."""
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _ignore(_message: str) -> None:
    """Report nothing."""


async def upgrade(
    url: str,
    revision: str = "head",
    *,
    wait_seconds: float = DEFAULT_WAIT_SECONDS,
    report: Report = _ignore,
) -> None:
    """Migrate the database at `url` up to `revision`; do nothing if it is already there.

    While other sessions hold locks that a migration needs, it is retried for `wait_seconds`, and
    `report` is called with a sentence that names these sessions.

    Raises:
        ConfigurationError: the locks were not free in time, or the account lacks a right.
        PostgresConnectionError: Postgres could not be reached.
    """
    await _run_locked(
        url,
        lambda connection: command.upgrade(alembic_config(connection), revision),
        wait_seconds=wait_seconds,
        report=report,
    )


async def downgrade(url: str, revision: str) -> None:
    """Migrate the database at `url` down to `revision`; `base` removes all tables."""
    await _run_locked(
        url, lambda connection: command.downgrade(alembic_config(connection), revision)
    )


async def _run_locked(
    url: str,
    run: Callable[[Connection], None],
    *,
    wait_seconds: float = DEFAULT_WAIT_SECONDS,
    report: Report = _ignore,
) -> None:
    deadline = monotonic() + wait_seconds
    async with _open_database(url) as database:
        monitor = LockMonitor(database)
        while True:
            try:
                await _try_to_run(database, monitor, run)
            except DBAPIError as error:
                if find_sqlstate(error) == INSUFFICIENT_PRIVILEGE:
                    raise ConfigurationError(_describe_missing_right(error)) from error
                if find_sqlstate(error) != LOCK_NOT_AVAILABLE and not is_contention(error):
                    raise
                report(f"waiting for {monitor.describe()}")
                if monotonic() + PAUSE_SECONDS > deadline:
                    raise ConfigurationError(
                        f"the database was not migrated, because for {wait_seconds:.0f} s its "
                        f"tables were locked by {monitor.describe()}: end that session, for "
                        "example with pg_terminate_backend, or migrate again later"
                    ) from error
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return


@asynccontextmanager
async def _open_database(url: str) -> AsyncIterator[Database]:
    # A migration may rewrite a large table: the statement timeout of requests does not apply.
    settings = DatabaseSettings(url=SecretStr(url), statement_timeout_seconds=24 * 3600)
    database = Database(settings, application="infill-migrate")
    try:
        yield database
    finally:
        await database.aclose()


async def _try_to_run(
    database: Database, monitor: LockMonitor, run: Callable[[Connection], None]
) -> None:
    """Migrate in one transaction, which fails if it waits for a lock longer than a few seconds."""
    async with database.transaction() as connection, monitor.watching(connection):
        await connection.execute(
            text("SELECT set_config('lock_timeout', :milliseconds, true)"),
            {"milliseconds": str(int(LOCK_SECONDS * 1000))},
        )
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK}
        )
        await connection.run_sync(run)


def _describe_missing_right(error: DBAPIError) -> str:
    """Return the server's message, and its hint with the statements that grant the right."""
    cause = error.orig.__cause__ if error.orig is not None else None
    message = getattr(cause, "message", None) or str(error.orig)
    hint = getattr(cause, "hint", None) or (
        "Grant the account of INFILL_DATABASE_URL this right, or migrate with another account."
    )
    return f"the database was not migrated: {message}. {hint}"
