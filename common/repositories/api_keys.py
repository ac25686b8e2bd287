"""Tenants' API keys, as operators make and revoke them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.models import ApiKey
from common.repositories.columns import following

_KEY: Final = (
    ApiKey.id,
    ApiKey.name,
    ApiKey.last_four,
    ApiKey.created_at,
    ApiKey.last_used_at,
    ApiKey.expires_at,
    ApiKey.revoked_at,
)


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key as an operator sees it; the key itself is not known to us."""

    id: int
    name: str
    last_four: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


async def add_api_key(
    connection: AsyncConnection,
    *,
    tenant_id: int,
    name: str,
    digest: bytes,
    last_four: str,
    expires_at: datetime | None = None,
) -> ApiKeyRecord:
    """Store a key's digest."""
    values = {"name": name, "digest": digest, "last_four": last_four, "expires_at": expires_at}
    statement = insert(ApiKey).values(tenant_id=tenant_id, **values).returning(*_KEY)
    return ApiKeyRecord(*(await connection.execute(statement)).one())


async def list_api_keys(
    connection: AsyncConnection, tenant_id: int, *, after: int | None, limit: int
) -> list[ApiKeyRecord]:
    """Give up to `limit` keys of a tenant, oldest first, the revoked ones too."""
    theirs = select(*_KEY).where(ApiKey.tenant_id == tenant_id)
    rows = await connection.execute(following(theirs, ApiKey.id, after, limit))
    return [ApiKeyRecord(*row) for row in rows]


async def revoke_api_key(
    connection: AsyncConnection, *, tenant_id: int, key_id: int
) -> ApiKeyRecord | None:
    """Revoke a key; None if the tenant has no such key that is not revoked."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(*_KEY)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else ApiKeyRecord(*row)
