"""Tenants' webhook secrets: as operators see and end them, and as test calls are signed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import select_page
from common.postgres.models import WebhookSecret
from common.postgres.statements import Executor

_SECRET: Final = (WebhookSecret.id, WebhookSecret.created_at, WebhookSecret.expires_at)
# Which secrets sign. The same condition is in claim_deliveries.sql.
IS_LIVE: Final = or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > func.now())
_LIVE: Final = (
    select(WebhookSecret.secret)
    .where(WebhookSecret.tenant_id == bindparam("of_tenant", type_=BigInteger()), IS_LIVE)
    .order_by(WebhookSecret.id.desc())
)


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
    rows = await connection.execute(select_page(theirs, WebhookSecret.id, after, limit))
    return [WebhookSecretRecord(*row) for row in rows]


async def find_live_webhook_secret(
    connection: AsyncConnection, *, tenant_id: int, secret_id: int
) -> WebhookSecretRecord | None:
    """Give a secret that still signs; None if the tenant has no such secret."""
    statement = select(*_SECRET).where(
        WebhookSecret.id == secret_id,
        WebhookSecret.tenant_id == tenant_id,
        IS_LIVE,
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else WebhookSecretRecord(*row)


async def live_secrets(connection: Executor, tenant_id: int) -> tuple[str, ...]:
    """Give the secrets a tenant's webhooks are signed with now, newest first."""
    rows = (await connection.execute(_LIVE, {"of_tenant": tenant_id})).all()
    return tuple(row[0] for row in rows)


async def expire_webhook_secret(connection: AsyncConnection, secret_id: int) -> WebhookSecretRecord:
    """Let a secret sign no more."""
    statement = (
        update(WebhookSecret)
        .where(WebhookSecret.id == secret_id)
        .values(expires_at=func.now())
        .returning(*_SECRET)
    )
    return WebhookSecretRecord(*(await connection.execute(statement)).one())
