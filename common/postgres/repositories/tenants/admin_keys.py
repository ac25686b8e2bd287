"""Keys of the admin API."""

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
from common.postgres.repositories.tenants.key_records import KeyRecord, key_columns

_KEY: Final = key_columns(AdminKey)
_LIVE: Final = (
    AdminKey.revoked_at.is_(None),
    or_(AdminKey.expires_at.is_(None), AdminKey.expires_at > func.now()),
)
_SECONDS_LEFT: Final[ColumnElement[float | None]] = cast(
    extract("epoch", AdminKey.expires_at - func.now()), Double()
)


@dataclass(frozen=True, slots=True)
class LiveAdminKey:
    """A key that opens the admin API.

    `seconds_left` is its remaining life by the database's clock, None for one without end.
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
    """Store a key's digest."""
    values = {"name": name, "digest": digest, "last_four": last_four, "expires_at": expires_at}
    statement = insert(AdminKey).values(**values).returning(*_KEY)
    return KeyRecord(*(await connection.execute(statement)).one())


async def is_admin_key_name_taken(connection: AsyncConnection, name: str) -> bool:
    """Tell whether a live key is called so."""
    statement = select(exists().where(AdminKey.name == name, *_LIVE))
    return bool((await connection.execute(statement)).scalar_one())


async def list_admin_keys(
    connection: AsyncConnection, *, after: int | None, limit: int
) -> list[KeyRecord]:
    """Give up to `limit` keys, oldest first, the revoked ones too."""
    rows = await connection.execute(select_page(select(*_KEY), AdminKey.id, after, limit))
    return [KeyRecord(*row) for row in rows]


async def revoke_admin_key(connection: AsyncConnection, key_id: int) -> KeyRecord | None:
    """Revoke a key; None if there is no such key that is not revoked."""
    statement = (
        update(AdminKey)
        .where(AdminKey.id == key_id, AdminKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(*_KEY)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else KeyRecord(*row)


async def use_admin_key(connection: AsyncConnection, digest: bytes) -> LiveAdminKey | None:
    """Give a live key, and note that it is used; None for any other digest."""
    statement = (
        update(AdminKey)
        .where(AdminKey.digest == digest, *_LIVE)
        .values(last_used_at=func.now())
        .returning(AdminKey.name, _SECONDS_LEFT)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else LiveAdminKey(*row)
