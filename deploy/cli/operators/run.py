"""Run use cases from the command line, with database access and the operator's name."""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable
from typing import TypeVar

from common.domain.errors import ConfigurationError
from common.operations.audit import Operator
from common.postgres.database import Database
from common.postgres.schema import SchemaCheck
from common.settings import Settings
from deploy.cli.postgres_errors import explain_postgres_errors

T = TypeVar("T")


def run_operation(use_case: Callable[[Database], Awaitable[T]]) -> T:
    """Connect to the configured database, run `use_case` with it, and return its result.

    Raises:
        ConfigurationError: Postgres could not be reached, or its schema is not the one of this
            release.
    """

    async def with_database() -> T:
        database = Database(Settings().database, application="infill-cli")
        try:
            async with database.direct() as connection:
                problem = await SchemaCheck(restricted=False).find_problem(connection)
            if problem is not None:
                raise ConfigurationError(problem)
            return await use_case(database)
        finally:
            await database.aclose()

    with explain_postgres_errors():
        return asyncio.run(with_database())


def current_operator() -> Operator:
    """Return the operator who runs the command, named after the account of this process.

    The user name in the environment is not used, because any user can change it.
    """
    uid = os.getuid()
    try:
        return Operator.at_command_line(pwd.getpwuid(uid).pw_name)
    except KeyError:  # a container may run under a uid without an account
        return Operator.at_command_line(f"uid-{uid}")


def require_pepper() -> str:
    """Return the pepper: the secret that is mixed into the digests of API and admin keys.

    Raises:
        ConfigurationError: INFILL_API_KEY_PEPPER is not set.
    """
    return Settings().gateway.require_pepper()
