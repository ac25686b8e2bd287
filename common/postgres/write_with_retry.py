"""Writing an outcome although Postgres is away for a moment: finished work must not be lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from common.postgres.database import Database, is_unavailable
from common.postgres.statements import Executor
from common.runtime.clock import monotonic

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


async def write_with_retry(
    database: Database, write: Callable[[Executor], Awaitable[T]], *, seconds: float
) -> T:
    """Run one fenced statement; while Postgres is away, again and again for up to `seconds`.

    Repeating is safe: if the first try was committed unheard, the fence refuses the second.

    Raises:
        Exception: what the last try raised; or, at once, what has nothing to do with absence.
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
