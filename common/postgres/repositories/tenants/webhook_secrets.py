"""List and expire tenants' webhook secrets, and read the live ones for signing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.expressions import select_page
from common.postgres.models import WebhookSecret
from common.postgres.statements import Executor

_SECRET_COLUMNS: Final = (WebhookSecret.id, WebhookSecret.created_at, WebhookSecret.expires_at)
# Webhooks are signed with live secrets. The same condition is in claim_deliveries.sql.
IS_LIVE: Final = or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > func.now())
_READ_LIVE_SECRETS: Final = (
    select(WebhookSecret.secret)
    .where(WebhookSecret.tenant_id == bindparam("of_tenant", type_=BigInteger()), IS_LIVE)
    .order_by(WebhookSecret.id.desc())
)


@dataclass(frozen=True, slots=True)
class WebhookSecretRecord:
    """A webhook secret as operators see it; the current secret has no `expires_at`."""

    id: int
    created_at: datetime
    expires_at: datetime | None


async def list_webhook_secrets(
    connection: AsyncConnection, tenant_id: int, *, after: int | None, limit: int
) -> list[WebhookSecretRecord]:
    """Return up to `limit` webhook secrets of a tenant with ids above `after`, oldest first.

    Expired secrets are included.
    """
    statement = select(*_SECRET_COLUMNS).where(WebhookSecret.tenant_id == tenant_id)
    rows = await connection.execute(select_page(statement, WebhookSecret.id, after, limit))
    return [WebhookSecretRecord(*row) for row in rows]


async def find_live_webhook_secret(
    connection: AsyncConnection, *, tenant_id: int, secret_id: int
) -> WebhookSecretRecord | None:
    """Return a live webhook secret, or None if the tenant has no live secret with this id."""
    statement = select(*_SECRET_COLUMNS).where(
        WebhookSecret.id == secret_id,
        WebhookSecret.tenant_id == tenant_id,
        IS_LIVE,
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else WebhookSecretRecord(*row)


async def read_live_secrets(connection: Executor, tenant_id: int) -> tuple[str, ...]:
    """Return the secrets with which a tenant's webhooks are signed now, newest first."""
    rows = (await connection.execute(_READ_LIVE_SECRETS, {"of_tenant": tenant_id})).all()
    return tuple(row[0] for row in rows)


async def expire_oldest_secrets(
    connection: AsyncConnection, tenant_id: int, *, kept: int
) -> list[int]:
    """Expire all but the `kept` newest live secrets of a tenant now; return the expired ids."""
    of_tenant = WebhookSecret.tenant_id == tenant_id
    newest = (
        select(WebhookSecret.id)
        .where(of_tenant, IS_LIVE)
        .order_by(WebhookSecret.id.desc())
        .limit(kept)
    )
    statement = (
        update(WebhookSecret)
        .where(of_tenant, IS_LIVE, WebhookSecret.id.not_in(newest))
        .values(expires_at=func.now())
        .returning(WebhookSecret.id)
    )
    return sorted((await connection.execute(statement)).scalars())


async def expire_webhook_secret(connection: AsyncConnection, secret_id: int) -> WebhookSecretRecord:
    """Expire a webhook secret now, and return its record."""
    statement = (
        update(WebhookSecret)
        .where(WebhookSecret.id == secret_id)
        .values(expires_at=func.now())
        .returning(*_SECRET_COLUMNS)
    )
    return WebhookSecretRecord(*(await connection.execute(statement)).one())
