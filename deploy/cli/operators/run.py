"""Running a use-case from the command line, and in whose name."""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from typing import TypeVar

from common.operations.audit import Operator
from common.postgres.database import Database
from common.settings import Settings
from deploy.cli.postgres_errors import explain_unreachable_postgres

T = TypeVar("T")


def run_operation(use_case: Callable[[Database], Awaitable[T]]) -> T:
    """Run a use-case on a database of its own.

    Raises:
        ConfigurationError: Postgres could not be reached.
    """

    async def with_database() -> T:
        database = Database(Settings().database, application="infill-cli")
        try:
            return await use_case(database)
        finally:
            await database.aclose()

    with explain_unreachable_postgres():
        return asyncio.run(with_database())


def current_operator() -> Operator:
    """Name who runs the command: the account of this process, not what the environment says."""
    uid = os.getuid()
    try:
        return Operator.at_command_line(pwd.getpwuid(uid).pw_name)
    except KeyError:  # in a container any number will do
        return Operator.at_command_line(f"uid-{uid}")


def require_pepper() -> str:
    """Give what goes into the digests of keys.

    Raises:
        ConfigurationError: there is none.
    """
    return Settings().gateway.require_pepper()
