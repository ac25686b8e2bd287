"""Folding the usage ledger into its daily totals, a bounded part in every sweep."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.repositories.usage.ledger import fold_usage

ENTRIES: Final = 1_000  # that one statement folds: tens of milliseconds
# In one sweep, so that a backlog does not hold up the sweeper's other work. Reports are exact
# however much is still to be folded.
BATCHES: Final = 40


async def fold_usage_backlog(connection: AsyncConnection) -> None:
    """Fold what the ledger has gained, as far as one sweep goes."""
    for _ in range(BATCHES):
        if await fold_usage(connection, limit=ENTRIES) < ENTRIES:
            break
