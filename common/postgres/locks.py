"""Postgres advisory locks, used for leader election and to serialize changes."""

from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Lock(IntEnum):
    """Keys of our Postgres advisory locks, unique across all releases that may run together."""

    SWEEPER = 0x737765657065  # "sweepe"
    RETENTION = 0x726574656E74  # "retent"
    OPERATORS = 0x6F7065726174  # "operat"


async def try_lock(connection: AsyncConnection, lock: Lock) -> bool:
    """Try to take a lock for the lifetime of this connection; return whether it is now held.

    If the holder dies, Postgres closes its connection, which releases the lock.
    """
    taken = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": lock.value})
    return bool(taken.scalar_one())


async def wait_for_lock(connection: AsyncConnection, lock: Lock) -> None:
    """Wait for a lock, which is then held until the end of the current transaction."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock.value})
