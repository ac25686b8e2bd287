"""Tenants' webhook secrets, as operators see and end them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.models import WebhookSecret
from common.repositories.columns import following

_SECRET: Final = (WebhookSecret.id, WebhookSecret.created_at, WebhookSecret.expires_at)


@dataclass(frozen=True, slots=True)
class WebhookSecretRecord:
    """A webhook secret as an operator sees it; one without an expiry is the current one."""

    id: int
    created_at: datetime
    expires_at: datetime | None


async def list_webhook_secrets(
    connection: AsyncConnection, tenant_id: int, *, after: int | None, limit: int
) -> list[WebhookSecretRecord]:
    """Give up to `limit` secrets of a tenant, oldest first, the expired ones too."""
    theirs = select(*_SECRET).where(WebhookSecret.tenant_id == tenant_id)
    rows = await connection.execute(following(theirs, WebhookSecret.id, after, limit))
    return [WebhookSecretRecord(*row) for row in rows]


async def find_live_webhook_secret(
    connection: AsyncConnection, *, tenant_id: int, secret_id: int
) -> WebhookSecretRecord | None:
    """Give a secret that still signs; None if the tenant has no such secret."""
    statement = select(*_SECRET).where(
        WebhookSecret.id == secret_id,
        WebhookSecret.tenant_id == tenant_id,
        or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > func.now()),
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else WebhookSecretRecord(*row)


async def expire_webhook_secret(connection: AsyncConnection, secret_id: int) -> WebhookSecretRecord:
    """Let a secret sign no more."""
    statement = (
        update(WebhookSecret)
        .where(WebhookSecret.id == secret_id)
        .values(expires_at=func.now())
        .returning(*_SECRET)
    )
    return WebhookSecretRecord(*(await connection.execute(statement)).one())
