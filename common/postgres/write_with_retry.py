"""Retry writes that must not be lost during a short outage of Postgres."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from common.postgres.database import Database
from common.postgres.errors import is_unavailable
from common.postgres.statements import Executor
from common.runtime.clock import monotonic

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


async def write_with_retry(
    database: Database, write: Callable[[Executor], Awaitable[T]], *, seconds: float
) -> T:
    """Run one fenced statement and return its result, retrying for up to `seconds` in an outage.

    Retrying is safe because the fence rejects the next try if an earlier try was committed and only
    its response was lost.

    Raises:
        Exception: the error of the last try; errors other than an outage are raised immediately.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            async with database.direct() as connection:
                return await write(connection)
        except Exception as error:
            if not is_unavailable(error) or monotonic() >= deadline:
                raise
            log.warning("outcome_write_delayed", error=type(error).__name__)
        await asyncio.sleep(PAUSE_SECONDS)
