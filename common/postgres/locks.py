"""Advisory locks: duties that one process at a time does, and changes made one after the other."""

from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Lock(IntEnum):
    """The keys of our advisory locks; no two may be the same, in any version that still runs."""

    SWEEPER = 0x737765657065  # "sweepe"
    RETENTION = 0x726574656E74  # "retent"
    OPERATORS = 0x6F7065726174  # "operat"


async def take_lock(connection: AsyncConnection, lock: Lock) -> bool:
    """Hold a lock for as long as this connection lives; False if somebody else does.

    It goes with its connection, so that whoever dies frees it.
    """
    taken = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": lock.value})
    return bool(taken.scalar_one())


async def wait_for_lock(connection: AsyncConnection, lock: Lock) -> None:
    """Hold a lock until the end of this transaction, after whoever holds it now."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock.value})
