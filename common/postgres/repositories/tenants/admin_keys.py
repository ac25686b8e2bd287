"""Add, list, revoke and authenticate keys of the admin API."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Double,
    cast,
    exists,
    extract,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import select_page
from common.postgres.models import AdminKey
from common.postgres.repositories.tenants.key_records import KeyRecord, list_key_columns

_KEY_COLUMNS: Final = list_key_columns(AdminKey)
_LIVE: Final = (
    AdminKey.revoked_at.is_(None),
    or_(AdminKey.expires_at.is_(None), AdminKey.expires_at > func.now()),
)
_SECONDS_LEFT: Final[ColumnElement[float | None]] = cast(
    extract("epoch", AdminKey.expires_at - func.now()), Double()
)


@dataclass(frozen=True, slots=True)
class LiveAdminKey:
    """An admin key that is neither revoked nor expired.

    `seconds_left` is the time until its expiry by the database's clock, or None if it does not
    expire.
    """

    name: str
    seconds_left: float | None


async def add_admin_key(
    connection: AsyncConnection,
    *,
    name: str,
    digest: bytes,
    last_four: str,
    expires_at: datetime | None,
) -> KeyRecord:
    """Add an admin key, of which only the digest is stored; return its record."""
    values = {"name": name, "digest": digest, "last_four": last_four, "expires_at": expires_at}
    statement = insert(AdminKey).values(**values).returning(*_KEY_COLUMNS)
    return KeyRecord(*(await connection.execute(statement)).one())


async def is_admin_key_name_taken(connection: AsyncConnection, name: str) -> bool:
    """Return whether a live admin key has this name."""
    statement = select(exists().where(AdminKey.name == name, *_LIVE))
    return bool((await connection.execute(statement)).scalar_one())


async def list_admin_keys(
    connection: AsyncConnection, *, after: int | None, limit: int
) -> list[KeyRecord]:
    """Return up to `limit` admin keys with ids above `after`, oldest first.

    Revoked keys are included.
    """
    rows = await connection.execute(select_page(select(*_KEY_COLUMNS), AdminKey.id, after, limit))
    return [KeyRecord(*row) for row in rows]


async def revoke_admin_key(connection: AsyncConnection, key_id: int) -> KeyRecord | None:
    """Revoke an admin key and return it, or return None if no unrevoked key has this id."""
    statement = (
        update(AdminKey)
        .where(AdminKey.id == key_id, AdminKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(*_KEY_COLUMNS)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else KeyRecord(*row)


async def use_admin_key(connection: AsyncConnection, digest: bytes) -> LiveAdminKey | None:
    """Return the live admin key with this digest, or None if there is none; record its use."""
    statement = (
        update(AdminKey)
        .where(AdminKey.digest == digest, *_LIVE)
        .values(last_used_at=func.now())
        .returning(AdminKey.name, _SECONDS_LEFT)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else LiveAdminKey(*row)
