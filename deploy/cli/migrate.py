"""Migrate a database's schema to the version of this release."""

from collections.abc import Callable

from alembic import command
from alembic.config import Config
from pydantic import SecretStr
from sqlalchemy import Connection, text

from common.postgres.database import Database
from common.settings import DatabaseSettings

# Advisory lock: one process migrates at a time; the others wait, and then find nothing to do.
MIGRATION_LOCK = 0x696E66696C6C  # "infill"


def alembic_config(connection: Connection) -> Config:
    """Return alembic's configuration for the migrations of Infill, bound to `connection`."""
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` up to `revision`; do nothing if it is already there.

    Raises:
        sqlalchemy.exc.DBAPIError: Postgres reported an error or could not be reached.
    """
    await _run_locked(url, lambda connection: command.upgrade(alembic_config(connection), revision))


async def downgrade(url: str, revision: str) -> None:
    """Migrate the database at `url` down to `revision`; `base` removes all tables."""
    await _run_locked(
        url, lambda connection: command.downgrade(alembic_config(connection), revision)
    )


async def _run_locked(url: str, run: Callable[[Connection], None]) -> None:
    # A migration may rewrite a large table: the statement timeout of requests does not apply.
    settings = DatabaseSettings(url=SecretStr(url), statement_timeout_seconds=24 * 3600)
    database = Database(settings, application="infill-migrate")
    try:
        async with database.transaction() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK}
            )
            await connection.run_sync(run)
    finally:
        await database.aclose()
