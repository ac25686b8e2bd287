"""Keys of the admin API."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.models import AdminKey
from common.repositories.columns import following

_KEY: Final = (
    AdminKey.id,
    AdminKey.name,
    AdminKey.last_four,
    AdminKey.created_at,
    AdminKey.last_used_at,
    AdminKey.expires_at,
    AdminKey.revoked_at,
)
_LIVE: Final = (
    AdminKey.revoked_at.is_(None),
    or_(AdminKey.expires_at.is_(None), AdminKey.expires_at > func.now()),
)


@dataclass(frozen=True, slots=True)
class AdminKeyRecord:
    """An admin key as operators see it; the key itself is not known to us."""

    id: int
    name: str
    last_four: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


async def add_admin_key(
    connection: AsyncConnection,
    *,
    name: str,
    digest: bytes,
    last_four: str,
    expires_at: datetime | None,
) -> AdminKeyRecord:
    """Store a key's digest."""
    values = {"name": name, "digest": digest, "last_four": last_four, "expires_at": expires_at}
    statement = insert(AdminKey).values(**values).returning(*_KEY)
    return AdminKeyRecord(*(await connection.execute(statement)).one())


async def is_admin_key_name_taken(connection: AsyncConnection, name: str) -> bool:
    """Tell whether a live key is called so."""
    statement = select(exists().where(AdminKey.name == name, *_LIVE))
    return bool((await connection.execute(statement)).scalar_one())


async def list_admin_keys(
    connection: AsyncConnection, *, after: int | None, limit: int
) -> list[AdminKeyRecord]:
    """Give up to `limit` keys, oldest first, the revoked ones too."""
    rows = await connection.execute(following(select(*_KEY), AdminKey.id, after, limit))
    return [AdminKeyRecord(*row) for row in rows]


async def revoke_admin_key(connection: AsyncConnection, key_id: int) -> AdminKeyRecord | None:
    """Revoke a key; None if there is no such key that is not revoked."""
    statement = (
        update(AdminKey)
        .where(AdminKey.id == key_id, AdminKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(*_KEY)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else AdminKeyRecord(*row)


async def use_admin_key(connection: AsyncConnection, digest: bytes) -> str | None:
    """Give the name of a live key, and note that it is used; None for any other digest."""
    statement = (
        update(AdminKey)
        .where(AdminKey.digest == digest, *_LIVE)
        .values(last_used_at=func.now())
        .returning(AdminKey.name)
    )
    return (await connection.execute(statement)).scalar()
