"""Add, list and revoke the API keys of tenants."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import select_page
from common.postgres.models import ApiKey
from common.postgres.repositories.tenants.key_records import KeyRecord, list_key_columns

_KEY_COLUMNS: Final = list_key_columns(ApiKey)


async def add_api_key(
    connection: AsyncConnection,
    *,
    tenant_id: int,
    name: str,
    digest: bytes,
    last_four: str,
    expires_at: datetime | None = None,
) -> KeyRecord:
    """Add an API key of a tenant, of which only the digest is stored; return its record."""
    values = {"name": name, "digest": digest, "last_four": last_four, "expires_at": expires_at}
    statement = insert(ApiKey).values(tenant_id=tenant_id, **values).returning(*_KEY_COLUMNS)
    return KeyRecord(*(await connection.execute(statement)).one())


async def list_api_keys(
    connection: AsyncConnection, tenant_id: int, *, after: int | None, limit: int
) -> list[KeyRecord]:
    """Return up to `limit` API keys of a tenant with ids above `after`, oldest first.

    Revoked keys are included.
    """
    statement = select(*_KEY_COLUMNS).where(ApiKey.tenant_id == tenant_id)
    rows = await connection.execute(select_page(statement, ApiKey.id, after, limit))
    return [KeyRecord(*row) for row in rows]


async def revoke_api_key(
    connection: AsyncConnection, *, tenant_id: int, key_id: int
) -> KeyRecord | None:
    """Revoke an API key and return it.

    Return None if the tenant has no unrevoked key with this id.
    """
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(*_KEY_COLUMNS)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else KeyRecord(*row)
